// Runs before the page is drawn, so that nobody is dazzled: the theme that was chosen on this computer.
{
  const theme = localStorage.getItem("callfloor.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
}
