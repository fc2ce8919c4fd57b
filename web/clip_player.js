// A saved clip starts playing on its node, silently and over and over; the front-end shows it, but stopped.
const CLIP = /\.(mp4|webm)$/i;
const TRIES = 40;
const PAUSE = 250;

export const clipPlayer = {
  name: "SVDStudio.ClipPlayer",
  nodeCreated(node) {
    if (node.comfyClass !== "SVDStudioSaveClip") return;
    const before = node.onExecuted;
    node.onExecuted = function (output) {
      before?.apply(this, arguments);
      const names = (output?.images ?? []).map((file) => file?.filename).filter((name) => CLIP.test(name ?? ""));
      if (names.length) play(names, TRIES);
    };
  },
};

// The element comes when the browser has read the file's head; each is started once and is the artist's from then on.
function play(names, tries) {
  const found = [...document.querySelectorAll("video")].filter((video) => names.includes(nameOf(video)));
  for (const video of found) {
    video.muted = true;
    video.loop = true;
    video.play()?.catch(() => {});
  }
  if (!found.length && tries > 0) setTimeout(() => play(names, tries - 1), PAUSE);
}

function nameOf(video) {
  const address = video.currentSrc || video.src;
  return address && new URL(address, location.href).searchParams.get("filename");
}
