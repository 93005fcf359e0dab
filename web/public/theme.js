// Before the first paint: the theme that was chosen, or the system's. A file of its own, so that no inline script is needed.
(function () {
  var chosen = null;
  try {
    chosen = localStorage.getItem("darkroom.theme");
  } catch {
    // no storage here: the system's theme
  }
  if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
})();
