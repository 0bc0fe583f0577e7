// Events of bimodal, as they come from /events, MQTT, a webhook and the event bus. docs/events.md explains every key.
// Made by: bimodal schema --to typescript

/** Fusion → everyone, one per video frame (per hop, for a stream without picture). `t` is in seconds. */
export interface Emotion {
  type: "emotion";
  stream: string;
  seq: number;
  t: number;
  faces: TrackedFace[];
  speech: Speech | null;
  emotion: Verdict;
  latency_ms: Latency;
  models: Record<string, string>;
  failed: string | null;
  run: number;
  size: [number, number] | null;
  shot: number;
}

/** A tracked face in one frame; docs/events.md describes every field. */
export interface TrackedFace {
  track: number;
  box: [number, number, number, number];
  score: number;
  presence: number;
  static: Record<string, number>;
  dynamic: Record<string, number> | null;
  video: Record<string, number>;
  fused: Record<string, number>;
  label: string;
  confidence: number;
  weights: Record<string, number>;
  sharpness: number | null;
  light: number | null;
  eyes_seen: number | null;
  mouth_seen: number | null;
  doubts: string[];
  face: FaceMeasures | null;
  other?: Record<string, number>;
  video_other?: Record<string, number>;
}

/** What a face does in one frame; docs/events.md gives units, signs and sources. null: no mesh, or no model for it. */
export interface FaceMeasures {
  eye_distance: number | null;
  yaw_deg: number | null;
  pitch_deg: number | null;
  roll_deg: number | null;
  gaze_yaw_deg: number | null;
  gaze_pitch_deg: number | null;
  eye_left_open: number | null;
  eye_right_open: number | null;
  mouth_open: number | null;
  eyes_closed: boolean | null;
  blink_ms: number | null;
  valence: number | null;
  arousal: number | null;
  affect: "derived" | "model" | null;
  blend: Record<string, number> | null;
  units: Record<string, number> | null;
}

/** The speech window joined to a frame. If gated, label and probabilities are null and `because` says why. */
export interface Speech {
  label: string | null;
  probabilities: Record<string, number> | null;
  voice: number;
  age_ms: number;
  because: string | null;
  snr_db: number | null;
  bandwidth_hz: number | null;
  clipped: number | null;
  doubts: string[];
  measures: VoiceMeasures | null;
  other?: Record<string, number>;
  dominance?: number;
}

/** How the voice of one hop sounds; docs/events.md gives methods. null: not enough voice. */
export interface VoiceMeasures {
  f0_hz: number | null;
  f0_low_hz: number | null;
  f0_high_hz: number | null;
  voiced: number | null;
  loudness_dbfs: number | null;
  loudness_lufs: number | null;
  rate_hz: number | null;
}

/** Emotion of face and voice together. If unknown, `label` is null and `because` says why. */
export interface Verdict {
  label: string | null;
  confidence: number | null;
  agreement: number | null;
  because: string | null;
  probabilities: Record<string, number> | null;
  valence: number | null;
  arousal: number | null;
  affect: "derived" | "model" | null;
  other?: Record<string, number>;
}

/** Milliseconds: from grab to worker (`queue`), in the worker (`inference`), from grab to event (`total`). */
export interface Latency {
  queue: number;
  inference: number;
  total: number;
  waited: number;
}

/** Fusion → everyone, one per hop of sound and voice: what the voice carries, whether a frame takes it up or not. */
export interface Hop {
  type: "hop";
  stream: string;
  seq: number;
  t: number;
  channel: string | null;
  label: string | null;
  confidence: number | null;
  probabilities: Record<string, number> | null;
  voice: number | null;
  because: string | null;
  latency_ms: Latency;
  models: Record<string, string>;
  failed: string | null;
  run: number;
  snr_db: number | null;
  bandwidth_hz: number | null;
  clipped: number | null;
  doubts: string[];
  valence: number | null;
  arousal: number | null;
  affect: "derived" | "model" | null;
  measures: VoiceMeasures | null;
  other?: Record<string, number>;
  dominance?: number;
}

/** Fusion → everyone, when a stretch has ended: an emotion of a face or of the voice, a turn, a blink, a shot. */
export interface Stretch {
  type: "segment";
  stream: string;
  kind: string;
  start: number;
  end: number;
  track: number | null;
  channel: string | null;
  label: string;
  confidence: number;
  peak: number;
  frames: number;
  run: number;
}

export type Event = Emotion | Hop | Stretch;
