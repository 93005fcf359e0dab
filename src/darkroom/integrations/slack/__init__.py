"""Darkroom in Slack: `/darkroom a red fox` makes a picture where it was asked for. `SlackBot` is there to inherit."""

from .asked import Asked as Asked
from .bot import SlackBot as SlackBot
from .words import Wanted as Wanted
from .words import read_wanted as read_wanted
