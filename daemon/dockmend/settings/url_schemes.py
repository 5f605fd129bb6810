"""The schemes of URLs that messages can go to: those of apprise 2.3 that reach a service over the network.

Written down, so that settings are checked without loading apprise, which costs 36 MiB; a test holds the list to the
library. What stays on the host (dbus, syslog, the desktop) is not among them, nor what needs a library that dockmend
does not install.
"""

from __future__ import annotations

import re
from typing import Final

from dockmend.rules.language_error import did_you_mean

SCHEMES: Final = frozenset(
    """
46elks acs amqp amqps apprise apprises aprs atalk awswhatsapp azure bale bark barks betterstack
bluesky brevo bsky bulksms bulkvs burstsms chanify clickatell clicksend cliq cm d7sms dapnet
deltachat deltachats dingtalk discord dot eight00com elks emby embys enigma2 enigma2s evolution
evolutions exotel feishu firehydrant flock flowtriq flowtriqs fluxer fluxers form forms freemobile
gchat github goalert goalerts gorush gorushs gotify gotifys groundmail groupme guilded gupshup
hassio hassios httpsms humhub humhubs ifttt ilert incidentio infobip instagram irc ircs jellyfin
jellyfins jira join json jsons kakao kakaotalk kaleyra kavenegar klr kodi kodis kook kudosity
kumulos lametric lametrics lark lauther lfg line mailersend mailgun mailto mailtos mastodon
mastodons matrix matrixs misskey misskeys mmost mmosts mobilemessage mobilemsg mqtt mqtts msg91
msgbird ncloud nclouds nctalk nctalks nexmo nostr notica noticas notifiarr notifico notificos
notifyapp notifyre ntfy ntfys o365 octopush onebot onebots onesignal opsgenie opsimate opsimates
pagerduty pagertree parsep parseps pbul pinglet pinglets pingram pjet pjets plivo postmark pover
prowl psafer psafers push pushdeer pushdeers pushed pushme pushplus pushward pushy qq reddit resend
revolt ringc rocket rockets rsyslog ryver schan sendgrid sendpulse serwersms ses seven sfr signal
signalgrid signals signl4 simplepush sinch slack smsc smseagle smseagles smsmanager smsmgr smstunnel
smtp2go sns sparkpost spike splunk spugpush spush squadcast stackfield strmlabs synology synologys
telesign telnyx tgram threema toot toots trigv trigvs tweet twilio twist twitter viber victorops
voipms vonage webex wechat wecom wecombot whapi whatsapp workflow workflows wpush wxpusher wxteams x
xbmc xbmcs xmatters xml xmls youlmk zalo zcliq zohocliq zoom zulip
    """.split()  # noqa: SIM905 - a list of 242 lines is not easier to read
)
ON_THE_HOST: Final = frozenset({
    "blink1", "dbus", "gio", "glib", "gnome", "kde", "macosx", "qt", "syslog", "windows", "file", "exec",
})  # fmt: skip
LACKING: Final = frozenset({
    "fcm", "growl", "session", "sessions", "smpp", "smpps", "sogs", "vapid", "xmpp", "xmpps",
})  # fmt: skip
"""Schemes of apprise that need a further library."""
_EXAMPLE: Final = re.compile(r"(^|/)(…|\.\.\.)/?$")
"""Behind `://`, where documents leave out the rest: `ntfy://…`, as the README has it."""
LONGEST: Final = 4096
"""Characters of a URL."""


def check_url(url: str) -> None:
    """Raises ValueError with what is wrong with a URL for messages, which it does not show: it is a secret."""
    scheme, mark, rest = url.partition("://")
    scheme = scheme.lower()
    if len(url) > LONGEST:
        raise ValueError(f"is longer than {LONGEST} characters")
    if _EXAMPLE.search(rest):
        raise ValueError("is an example's, which leaves the address out: write the whole URL of your own channel")
    if not mark or not rest or not url.isprintable() or " " in url:
        raise ValueError("is no URL of a service such as ntfys://HOST/TOPIC")
    if scheme in ("http", "https"):
        raise ValueError(
            "is the address of a page: write it as apprise has it, such as discord://ID/TOKEN or ntfys://HOST/TOPIC, "
            "and jsons://HOST/PATH for a webhook of your own"
        )
    if scheme in ON_THE_HOST:
        raise ValueError(f"has the scheme {scheme}, which stays on this host: expected a service in the network")
    if scheme in LACKING:
        raise ValueError(f"has the scheme {scheme}, which needs a library that dockmend does not come with")
    if scheme not in SCHEMES:
        known = scheme if scheme.isalnum() and scheme.isascii() and len(scheme) <= 20 else ""
        named = f" {known}{did_you_mean(known, SCHEMES)}" if known else ""
        raise ValueError(f"has an unknown scheme{named}")


def service_of(url: str) -> str:
    """The scheme of a URL, which may be shown; of one that is no URL of a service, `unknown`."""
    scheme = url.partition("://")[0].lower()
    return scheme if scheme in SCHEMES else "unknown"


def check_heartbeat(url: str) -> None:
    """Raises ValueError with what is wrong with the URL of the heartbeat, which it does not show."""
    scheme, mark, rest = url.partition("://")
    if _EXAMPLE.search(rest):
        raise ValueError("is an example's, which leaves the address out: write the whole URL of your own monitor")
    if not mark or not rest or scheme.lower() not in ("http", "https") or not url.isprintable() or " " in url:
        raise ValueError("is no URL that begins with https:// or http://")
    if len(url) > LONGEST:
        raise ValueError(f"is longer than {LONGEST} characters")
