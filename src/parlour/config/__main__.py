"""`python -m parlour.config` prints the page of all settings (docs/settings.md)."""

from parlour.config.page import settings_page

print(settings_page(), end="")
