"""Video: what a clip is, and the one reader of its frames."""

from media.video.choosing import choose_frames
from media.video.container import Source, looks_like_video
from media.video.facts import Frame, Sound, VideoFacts, VideoLimits
from media.video.names import VIDEO_EXTENSIONS, is_video_name
from media.video.reading import VideoReader, probe, read_frames

__all__ = [
    "VIDEO_EXTENSIONS",
    "Frame",
    "Sound",
    "Source",
    "VideoFacts",
    "VideoLimits",
    "VideoReader",
    "choose_frames",
    "is_video_name",
    "looks_like_video",
    "probe",
    "read_frames",
]
