// A worker: says "now" every so many milliseconds, also while the page is in the background.
onmessage = (event) => setInterval(() => postMessage(0), event.data);
