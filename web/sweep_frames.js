// The frames of a clip by number, decoded once and kept as pictures of the size they are shown in.
const MOVIE = /\.(mp4|webm)$|^video\//i;
const PATIENCE = 20000;

// A clip at `source`; `frames` and `fps` are taken from the file where the sweep's record does not know them.
export async function openClip({ source, frames, fps }, width, signal) {
  const answer = await fetch(source, { signal });
  if (!answer.ok) throw new Error(`The clip is not there any more (${answer.status}).`);
  const blob = await answer.blob();
  if (MOVIE.test(blob.type) || MOVIE.test(source)) return VideoFrames.open(blob, frames, fps, width);
  if (!window.ImageDecoder) throw new Error("This browser plays animated pictures only by itself, not frame by frame.");
  return PictureFrames.open(blob, fps, width);
}

class Kept {
  constructor(frames, fps) {
    this.frames = frames;
    this.fps = fps;
    this.kept = new Map();
  }

  // One at a time: a decoder has one place.
  frame(number) {
    const found = this.kept.get(number);
    if (found) return found;
    const made = (this.last ?? Promise.resolve()).then(() => this.decode(number));
    this.last = made.catch(() => {});
    this.kept.set(number, made);
    made.catch(() => this.kept.delete(number));
    return made;
  }

  close() {
    for (const made of this.kept.values())
      made.then(
        (picture) => picture.close(),
        () => {},
      );
    this.kept.clear();
  }
}

class VideoFrames extends Kept {
  static async open(blob, frames, fps, width) {
    const video = document.createElement("video");
    Object.assign(video, { muted: true, playsInline: true, preload: "auto", src: URL.createObjectURL(blob) });
    await event(video, "loadeddata").catch((error) => {
      URL.revokeObjectURL(video.src);
      throw error;
    });
    const rate = fps || (frames ? frames / video.duration : await rateOf(video));
    const clip = new VideoFrames(frames || Math.max(1, Math.round(video.duration * rate)), rate);
    return Object.assign(clip, { video, width: Math.min(width, video.videoWidth) });
  }

  // The middle of a frame's time is its own whichever way a player rounds.
  async decode(number) {
    const { video } = this;
    const time = Math.min((number + 0.5) / this.fps, Math.max(0, video.duration - 0.001));
    if (Math.abs(video.currentTime - time) > 1e-4) {
      const there = event(video, "seeked");
      video.currentTime = time;
      await there;
    }
    return scaled(video, video.videoWidth, video.videoHeight, this.width);
  }

  close() {
    super.close();
    URL.revokeObjectURL(this.video.src);
    this.video.removeAttribute("src");
    this.video.load();
  }
}

class PictureFrames extends Kept {
  static async open(blob, fps, width) {
    const decoder = new ImageDecoder({ data: await blob.arrayBuffer(), type: blob.type });
    await decoder.tracks.ready;
    await decoder.completed;
    const frames = decoder.tracks.selectedTrack.frameCount;
    const { image } = await decoder.decode({ frameIndex: 0 });
    const clip = new PictureFrames(frames, fps || (image.duration ? 1e6 / image.duration : 8));
    Object.assign(clip, { decoder, width: Math.min(width, image.displayWidth) });
    image.close();
    return clip;
  }

  async decode(number) {
    const { image } = await this.decoder.decode({ frameIndex: number });
    const picture = await scaled(image, image.displayWidth, image.displayHeight, this.width);
    image.close();
    return picture;
  }

  close() {
    super.close();
    this.decoder.close();
  }
}

function scaled(source, width, height, wanted) {
  const size = { resizeWidth: wanted, resizeHeight: Math.max(1, Math.round((height * wanted) / width)) };
  return createImageBitmap(source, { ...size, resizeQuality: "medium" });
}

// What the player itself says about the time between two frames.
async function rateOf(video) {
  if (!video.requestVideoFrameCallback) return 8;
  const times = [];
  const frame = () =>
    new Promise((resolve) => video.requestVideoFrameCallback((_, { mediaTime }) => resolve(mediaTime)));
  const enough = new Promise((resolve) => setTimeout(resolve, 1500));
  video.playbackRate = 0.25;
  await video.play();
  for (let count = 0; count < 4 && !video.ended; count++) {
    const time = await Promise.race([frame(), enough]);
    if (time === undefined) break;
    times.push(time);
  }
  video.pause();
  const steps = times
    .slice(1)
    .map((time, place) => time - times[place])
    .filter((step) => step > 1e-3);
  return steps.length ? Math.round(1000 / Math.min(...steps)) / 1000 : 8;
}

function event(element, name) {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error("The browser did not decode the clip in time.")), PATIENCE);
    const end = (call, value) => () => (clearTimeout(late), call(value));
    element.addEventListener(name, end(resolve), { once: true });
    element.addEventListener("error", end(reject, new Error("The browser cannot decode this clip.")), { once: true });
  });
}
