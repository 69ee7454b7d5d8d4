"""Faces in pictures and video: finding, following and cutting them out, and the scores of a medium."""

from media.faces.detector import Face, FaceDetector
from media.faces.finding import FaceCrop, FacesFound, Timed, faces_of_picture, faces_of_video

__all__ = ["Face", "FaceCrop", "FaceDetector", "FacesFound", "Timed", "faces_of_picture", "faces_of_video"]
