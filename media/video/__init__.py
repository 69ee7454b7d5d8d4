"""Video: what a clip is, and the one reader of its frames."""

from media.video.names import VIDEO_EXTENSIONS, is_video_name

__all__ = ["VIDEO_EXTENSIONS", "is_video_name"]
