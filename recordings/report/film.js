// Only in reports with a film: stretches jump to their place in it, and a line shows where it is.
(() => {
  const video = document.querySelector("#film video");
  const films = JSON.parse(video.dataset.films);
  const [first, last] = [Number(document.body.dataset.first), Number(document.body.dataset.last)];
  let shown = 0;

  // Load a film of several, with its captions, and go on once its length is known.
  function load(index, then) {
    if (index !== shown) {
      shown = index;
      const track = document.createElement("track");
      const before = video.querySelector("track");
      Object.assign(track, { kind: "captions", label: "emotions", srclang: "en", src: films[index].captions });
      track.default = before.default;
      before.replaceWith(track);
      video.src = films[index].name;
    }
    if (video.readyState >= 1 && video.currentSrc.endsWith(films[index].name)) then();
    else {
      video.addEventListener("loadedmetadata", then, { once: true });
      video.load();
    }
  }

  function jump(t) {
    const index = Math.max(0, films.findLastIndex((film) => film.begin <= t + 0.001));
    load(index, () => {
      video.currentTime = Math.max(0, t - films[index].begin);
      video.play().catch(() => {});
    });
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-t]");
    const area = event.target.closest(".area, .over");
    if (link && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      jump(Number(link.dataset.t));
    } else if (area && !link) {
      const { left, width } = area.getBoundingClientRect();
      const [from, to] = area.classList.contains("over") ? [96 / 1100, 1096 / 1100] : [0, 1];
      const share = ((event.clientX - left) / width - from) / (to - from);
      if (share >= 0 && share <= 1) jump(first + share * (last - first));
    }
  });

  function draw() {
    const share = (films[shown].begin + video.currentTime - first) / (last - first);
    document.body.style.setProperty("--now", String(Math.min(1, Math.max(0, share))));
    if (!video.paused) requestAnimationFrame(draw);
  }

  for (const name of ["play", "seeked", "timeupdate", "loadedmetadata"]) video.addEventListener(name, draw);
  video.addEventListener("ended", () => {
    if (shown + 1 < films.length) jump(films[shown + 1].begin);
  });
})();
