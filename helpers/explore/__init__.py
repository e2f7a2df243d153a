"""The explorer: `explore.open()` shows what is finished, one neuron under one model or two."""

from helpers.explore.held import Held, held, open
from helpers.explore.page import WITH_CAPTION, figure
from helpers.explore.widget import explore
