"""What web_fetch takes for an address, where it may lead, and what of it is shown."""

from __future__ import annotations

import ipaddress
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import assume, example, given, strategies as st

from godwit.core.addresses import kind_of
from godwit.core.errors import ConfigurationError, ToolFailed
from godwit.tools.address import AddressGuard
from godwit.tools.url import HIDDEN, is_secret, parse

PUBLIC_4 = IPv4Address("93.184.215.14")
PUBLIC_6 = IPv6Address("2606:2800:21f:cb07:6820:80da:af6b:8b2c")


# --- one reading of an address ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "scheme", "host", "port", "target"),
    [
        ("https://example.com", "https", "example.com", 443, "/"),
        ("HTTP://Example.COM:8080/A?b=c#d", "http", "example.com", 8080, "/A?b=c"),
        ("https://example.com?q", "https", "example.com", 443, "/?q"),
        ("https://example.com#f", "https", "example.com", 443, "/"),
        (" https://example.com/a \n", "https", "example.com", 443, "/a"),
        ("https://example.com/ä?ö=ü", "https", "example.com", 443, "/%C3%A4?%C3%B6=%C3%BC"),
        ("https://example.com/%7Ea%2f", "https", "example.com", 443, "/~a%2F"),
        ("https://example.com/a/../../b/./c/..?d/../e", "https", "example.com", 443, "/b/?d/../e"),
        ("https://example.com/%61/%2e%2E/%2e/b%2F..", "https", "example.com", 443, "/b%2F.."),
        ("https://example.com//a//", "https", "example.com", 443, "//a//"),
        ("https://example.com/.", "https", "example.com", 443, "/"),
        ('https://example.com/a"<b>', "https", "example.com", 443, "/a%22%3Cb%3E"),
        ("http://1.2.3.4/", "http", "1.2.3.4", 80, "/"),
        ("http://[2001:DB8::1]:81/", "http", "2001:db8::1", 81, "/"),
        ("https://bücher.example/", "https", "xn--bcher-kva.example", 443, "/"),
        ("https://faß.de/", "https", "xn--fa-hia.de", 443, "/"),
        ("https://a_b.example/", "https", "a_b.example", 443, "/"),
        ("https://e.com/@x:y", "https", "e.com", 443, "/@x:y"),
    ],
)
def test_an_address_is_read(text: str, scheme: str, host: str, port: int, target: str) -> None:
    url = parse(text)
    assert (url.scheme, url.host, url.port, url.target) == (scheme, host, port, target)


REFUSED = [
    "", "example.com", "//example.com", "ftp://example.com", "file:///etc/passwd", "javascript:alert(1)", "gopher://a/_x",
    "data:text/html,x", "https:example.com", "https:/example.com", "https://", "https:///path", "http://:80/",
    # who is the host?
    "https://good.example@evil.example/", "https://user:pw@evil.example/", "https://good.example:443@evil.example/",
    "https://good.example\\@evil.example/", "https://evil.example\\.good.example/", "https://good.example%40evil.example/",
    "https://a b/", "https://a\tb/", "https://a\nb/", "https://a/\r\nHost: b", "https://a/\x00", "https://a\u00a0b/",
    "https://a\u2028b/", "https://a/\ud800",
    # dots
    "http://127.0.0.1./", "http://localhost./", "http://example.com../", "http://.example.com/", "http://a..b/", "http://./",
    # numbers
    "http://2130706433/", "http://017700000001/", "http://0x7f000001/", "http://0x7f.1/", "http://0177.0.0.1/",
    "http://127.1/", "http://127.0.1/", "http://0/", "http://0x/", "http://1/", "http://127.0.0.01/", "http://00127.0.0.1/",
    "http://127.0.0.0x1/", "http://256.0.0.1/", "http://1.2.3.4.5/", "http://999/", "http://0X7F.0.0.1/",
    "http://a.0x7f/", "http://a.1/",
    "http://①②⑦.⓪.⓪.①x.1/", "http://127。1/", "http://１２７.1/", "http://0ｘ7f000001/",
    # IPv6
    "http://[::1/", "http://[::1%25eth0]/", "http://[fe80::1%eth0]/", "http://::1/", "http://[127.0.0.1]/", "http://[::1]x/",
    "http://[::g]/", "http://[]/", "http://[v1.x]/",
    # ports
    "http://a:0/", "http://a:65536/", "http://a:99999/", "http://a:-1/", "http://a:+80/", "http://a: 80/", "http://a:8o/",
    "http://a:/", "http://a:80:80/", "http://a:0080/", "http://a:８０/", "http://a:٨٠/", "http://a:1_0/",
    # names
    "http://-a/", "http://a-/", "http://a%2eb/", "http://a*b/", "http://a$b/", f"http://{'a' * 64}.b/",
    f"http://{'a.' * 130}b/", "http://xn--\u0000/", "http://\u202e.com/", f"https://a/{'b' * 8000}",
]  # fmt: skip


@pytest.mark.parametrize("text", REFUSED)
def test_what_could_be_read_in_two_ways_is_refused(text: str) -> None:
    with pytest.raises(ToolFailed):
        parse(text)


def test_numbers_of_other_scripts_are_the_address_they_are_for_others() -> None:
    # Resolvers and browsers make 127.0.0.1 of these, so here it is that as well, and judged.
    for text in ("http://①②⑦.⓪.⓪.①/", "http://127。0。0。1/", "http://１２７.０.０.１/"):
        url = parse(text)
        assert url.literal == IPv4Address("127.0.0.1")
        with pytest.raises(ToolFailed):
            AddressGuard().check(url, [IPv4Address("127.0.0.1")])


@given(st.ip_addresses(v=4), st.data())
@example(IPv4Address("127.0.0.1"), None)
def test_an_ipv4_host_has_one_spelling(address: IPv4Address, data: st.DataObject | None) -> None:
    assert parse(f"http://{address}/").literal == address
    number = int(address)
    octets = address.packed
    spellings = [
        str(number), hex(number), hex(number).upper().replace("X", "x"), f"0{number:o}", f"0x{number:012x}",
        ".".join(f"0{o:o}" for o in octets), ".".join(hex(o) for o in octets), ".".join(f"{o:03d}" for o in octets),
        f"{octets[0]}.{number & 0xFFFFFF}", f"{octets[0]}.{octets[1]}.{number & 0xFFFF}", f"{address}.", f"x@{address}",
    ]  # fmt: skip
    if data is not None:
        mixed = [data.draw(st.sampled_from([str(o), hex(o), f"0{o:o}"])) for o in octets]
        spellings.append(".".join(mixed))
    for spelling in spellings:
        if spelling == str(address):
            continue  # 000 is no spelling of its own when every number has three digits
        try:
            url = parse(f"http://{spelling}/")
        except ToolFailed:
            continue
        raise AssertionError(f"{spelling} was read as {url}")


@given(st.text(alphabet="0123456789abcdefxX.o-_%:[]@/\\?# ①。é", max_size=24))
@example("0x7f.0.0.1")
@example("127.0.0.1\u3002")
def test_what_the_system_reads_as_a_number_is_read_as_the_same_or_refused(host: str) -> None:
    """The C library's idea of a number is the widest: whatever it takes for one must not pass as a name."""
    try:
        url = parse(f"http://{host}/")
    except ToolFailed:
        return
    try:
        packed = socket.inet_aton(url.host)
    except OSError:
        return
    assert url.literal == IPv4Address(packed)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    for candidate in (text, f"http://{text}", f"http://a/{text}"):
        try:
            url = parse(candidate)
        except ToolFailed:
            continue
        assert url.target.isascii()
        assert url.host.isascii()
        assert not set(url.target + url.host) & set("\r\n\t \x00\\")
        assert parse(url.full) == url  # what is sent is what was read
        assert not {".", ".."} & set(url.target.partition("?")[0].split("/"))


# --- where it may lead ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "loopback"), ("127.255.255.254", "loopback"), ("0.0.0.0", "unspecified"), ("0.1.2.3", "unspecified"),
        ("10.0.0.1", "private"), ("172.16.0.1", "private"), ("172.31.255.255", "private"), ("192.168.1.1", "private"),
        ("100.64.0.1", "private"), ("198.18.0.1", "private"), ("169.254.1.1", "link-local"),
        ("169.254.169.254", "metadata"), ("169.254.170.2", "metadata"), ("169.254.169.123", "metadata"),
        ("100.100.100.200", "metadata"), ("168.63.129.16", "metadata"), ("192.0.0.192", "metadata"),
        ("224.0.0.1", "multicast"), ("239.255.255.250", "multicast"), ("240.0.0.1", "reserved"),
        ("255.255.255.255", "reserved"), ("192.0.2.1", "reserved"), ("203.0.113.9", "reserved"),
        ("192.88.99.1", "embedded IPv4"),
        ("::", "unspecified"), ("::1", "loopback"), ("fe80::1", "link-local"), ("fc00::1", "private"),
        ("fd12::1", "private"), ("fec0::1", "private"),
        ("fd00:ec2::254", "metadata"), ("fd00:ec2::23", "metadata"), ("fd20:ce::254", "metadata"),
        ("ff02::1", "multicast"), ("2001:db8::1", "reserved"), ("3fff::1", "reserved"), ("100::1", "reserved"),
        ("4000::1", "reserved"), ("2001:2::1", "reserved"), ("2001:20::1", "reserved"), ("5f00::1", "reserved"),
        ("::ffff:127.0.0.1", "embedded IPv4"), ("::ffff:8.8.8.8", "embedded IPv4"), ("::127.0.0.1", "embedded IPv4"),
        ("::ffff:0:127.0.0.1", "embedded IPv4"), ("64:ff9b::7f00:1", "embedded IPv4"), ("64:ff9b:1::a00:1", "embedded IPv4"),
        ("2002:7f00:1::", "embedded IPv4"), ("2001::7f00:1", "embedded IPv4"), ("2001:470::5efe:7f00:1", "embedded IPv4"),
        ("2001:470::200:5efe:a00:1", "embedded IPv4"),
    ],
)  # fmt: skip
def test_what_is_not_public_is_told_apart(address: str, kind: str) -> None:
    assert kind_of(ip_address(address)) == kind


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "100.63.255.255", "100.128.0.1", "172.15.255.255", "172.32.0.1", "2606:4700::1111"]
)
def test_public_addresses_are(address: str) -> None:
    assert kind_of(ip_address(address)) is None


@given(st.ip_addresses())
@example(IPv6Address("2002:7f00:1::"))
@example(IPv6Address("64:ff9b::a9fe:a9fe"))
def test_nothing_passes_that_python_knows_not_to_be_public(address: IPv4Address | IPv6Address) -> None:
    if kind_of(address) is not None:
        return
    assert address.is_global
    special = ("multicast", "private", "loopback", "link_local", "reserved", "unspecified")
    assert [name for name in special if getattr(address, f"is_{name}")] == []
    if isinstance(address, IPv6Address):
        assert address.ipv4_mapped is None
        assert address.sixtofour is None
        assert address.teredo is None
        assert not address.is_site_local


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_within_another_never_passes(address: IPv4Address) -> None:
    low = int(address)
    for prefix in ("::", "::ffff:0:0", "::ffff:0:0:0", "64:ff9b::", "64:ff9b:1::", "2001::", "2001:470::5efe:0:0"):
        assert kind_of(IPv6Address(int(IPv6Address(prefix)) | low)) is not None
    assert kind_of(IPv6Address((0x2002 << 112) | (low << 80) | 1)) == "embedded IPv4"


@given(st.ip_addresses(v=6, network="2000::/3"))
def test_most_of_ipv6_can_be_reached(address: IPv6Address) -> None:
    special = ("2001::/23", "2001:db8::/32", "2002::/16", "3ffe::/16", "3fff::/20")
    assume(not any(address in ip_network(network) for network in special))
    assume((int(address) >> 32) & 0xFFFFFFFF not in (0x5EFE, 0x2005EFE))
    assert kind_of(address) is None


def test_a_name_is_as_bad_as_its_worst_address() -> None:
    guard, url = AddressGuard(), parse("https://example.com/")
    guard.check(url, [PUBLIC_4, PUBLIC_6])
    for bad in ("127.0.0.1", "::1", "10.0.0.1", "169.254.169.254"):
        with pytest.raises(ToolFailed, match=r"example\.com leads to"):
            guard.check(url, [PUBLIC_4, ip_address(bad), PUBLIC_6])
    with pytest.raises(ToolFailed, match="no address"):
        guard.check(url, [])


def test_other_ports_are_refused() -> None:
    for text in ("http://example.com:22/", "https://example.com:8443/", "http://example.com:25/"):
        with pytest.raises(ToolFailed, match="port"):
            AddressGuard().check(parse(text), [PUBLIC_4])
    AddressGuard().check(parse("http://example.com:443/"), [PUBLIC_4])
    AddressGuard(allow_ports=[8443]).check(parse("https://example.com:8443/"), [PUBLIC_4])
    # A port allowed for a private host is allowed for it alone.
    guard = AddressGuard(["10.0.0.1:9000"])
    guard.check(parse("http://10.0.0.1:9000/"), [IPv4Address("10.0.0.1")])
    for text, address in (("http://example.com:9000/", PUBLIC_4), ("http://10.0.0.2:9000/", IPv4Address("10.0.0.2"))):
        with pytest.raises(ToolFailed):
            guard.check(parse(text), [address])


@pytest.mark.parametrize(
    ("entry", "url", "address", "passes"),
    [
        ("intranet", "http://intranet/", "10.0.0.1", True),
        ("intranet", "http://other/", "10.0.0.1", False),
        ("INTRANET", "http://intranet/", "10.0.0.1", True),
        ("intranet", "http://intranet/", "127.0.0.1", True),
        ("intranet", "http://x.intranet/", "10.0.0.1", False),
        ("*.corp.example", "http://a.b.corp.example/", "10.0.0.1", True),
        ("*.corp.example", "http://corp.example/", "10.0.0.1", False),
        ("*.corp.example", "http://evilcorp.example/", "10.0.0.1", False),
        ("10.1.0.0/16", "http://10.1.2.3/", "10.1.2.3", True),
        ("10.1.0.0/16", "http://name/", "10.1.2.3", True),
        ("10.1.0.0/16", "http://name/", "10.2.0.1", False),
        ("127.0.0.1:8080", "http://127.0.0.1:8080/", "127.0.0.1", True),
        ("127.0.0.1:8080", "http://localhost:8080/", "127.0.0.1", True),
        ("127.0.0.1:8080", "http://127.0.0.1/", "127.0.0.1", False),
        ("127.0.0.1:8080", "http://127.0.0.1:8081/", "127.0.0.1", False),
        ("[::1]:8080", "http://[::1]:8080/", "::1", True),
        ("::1", "http://[::1]/", "::1", True),
        ("fd00::/8", "http://[fd00::1]/", "fd00::1", True),
        # whatever is allowed, these are not
        ("0.0.0.0/0", "http://169.254.169.254/", "169.254.169.254", False),
        ("169.254.169.254", "http://169.254.169.254/", "169.254.169.254", False),
        ("metadata", "http://metadata/", "169.254.169.254", False),
        ("168.63.129.16", "http://168.63.129.16/", "168.63.129.16", False),
        ("fd00::/8", "http://[fd00:ec2::254]/", "fd00:ec2::254", False),
        ("0.0.0.0/0", "http://0.0.0.0/", "0.0.0.0", False),
        ("0.0.0.0/0", "http://224.0.0.1/", "224.0.0.1", False),
        ("::/0", "http://[::ffff:7f00:1]/", "::ffff:127.0.0.1", False),
        ("127.0.0.0/8", "http://name/", "::ffff:127.0.0.1", False),
    ],
)
def test_what_allow_private_covers(entry: str, url: str, address: str, passes: bool) -> None:
    guard = AddressGuard([entry])
    if passes:
        guard.check(parse(url), [ip_address(address)])
    else:
        with pytest.raises(ToolFailed):
            guard.check(parse(url), [ip_address(address)])


@pytest.mark.parametrize(
    "entry",
    ["", "http://a", "a/b", "10.0.0.1/8", "a:b", "a:0", "a:99999", "*", "*.*", "a.*", "256.1.1.1", "0x7f.1", "a b", "[a]"],
)
def test_an_entry_that_means_nothing_is_refused(entry: str) -> None:
    with pytest.raises(ConfigurationError, match="neither a host name"):
        AddressGuard([entry])


def test_a_text_is_no_list() -> None:
    with pytest.raises(ConfigurationError):
        AddressGuard("10.0.0.1")


# --- what is shown ----------------------------------------------------------------------------------------------------

S = "hunter2hunter2"


@pytest.mark.parametrize(
    "text",
    [
        f"https://e.com/?token={S}", f"https://e.com/?a=b&access_token={S}&c=d", f"https://e.com/?TOKEN={S}",
        f"https://e.com/?api_key={S}", f"https://e.com/?apiKey={S}", f"https://e.com/?api-key={S}", f"https://e.com/?key={S}",
        f"https://e.com/?sig={S}", f"https://e.com/?Signature={S}", f"https://e.com/?password={S}", f"https://e.com/?pwd={S}",
        f"https://e.com/?X-Amz-Signature={S}", f"https://e.com/?X-Amz-Credential={S}", f"https://e.com/?X-Amz-Security-Token={S}",
        f"https://e.com/?X-Goog-Signature={S}", f"https://e.com/?AWSAccessKeyId={S}", f"https://e.com/?sv=2020&sig={S}",
        f"https://e.com/?client_secret={S}", f"https://e.com/?auth={S}", f"https://e.com/?jwt={S}", f"https://e.com/?sid={S}",
        f"https://e.com/?session_id={S}", f"https://e.com/?refresh%5Ftoken={S}", f"https://e.com/?to%6ben={S}",
        f"https://e.com/?token[]={S}", f"https://e.com/?a;token={S}", f"https://e.com/?code={S}&state=1",
        f"https://e.com/?next=https%3A%2F%2Fx.com%2F%3Ftoken%3D{S}", f"https://e.com/?u=https%253A%252F%252Fx%252F%253Fsig%253D{S}",
        f"https://e.com/?u=https%3A%2F%2Fme%3A{S}%40x.com%2F", f"https://e.com/a;jsessionid={S}/b", f"https://e.com/#token={S}",
        f"https://e.com/?q=eyJhbGciOiJI.{S}.x", f"https://e.com/sk-{S}abcdef", f"https://e.com/?ghp_{S}abcdef",
        f"https://api.telegram.org/bot123456789:{S}abcdefgh/getMe", f"https://hooks.slack.com/services/T0/B0/{S}",
        f"https://discord.com/api/webhooks/1/{S}",
    ],
)  # fmt: skip
def test_secrets_are_not_shown_but_requested(text: str) -> None:
    url = parse(text)
    assert S not in url.shown
    assert (S in url.full) == ("#" not in text)
    if "#" not in text:
        assert HIDDEN in url.shown


def test_the_rest_is_shown() -> None:
    for text in (
        "https://e.com/a/b.html?q=blue+whales&page=2&lang=en", "https://e.com/?code=US", "https://e.com/?keyword=x&keywords=y",
        "https://e.com/@me/posts;v=2?sort", "https://e.com/?", "http://e.com:8080/", "https://[2606:4700::1]/x",
    ):  # fmt: skip
        assert parse(text).shown == text


@given(st.sampled_from(["token", "api_key", "X-Amz-Signature", "password", "sig"]), st.booleans(), st.data())
def test_a_secret_name_is_known_however_it_is_written(name: str, escaped: bool, data: st.DataObject) -> None:
    written = "".join(data.draw(st.sampled_from([c.lower(), c.upper()])) for c in name)
    if escaped:
        written = "".join(f"%{ord(c):02x}" if data.draw(st.booleans()) else c for c in written)
    assert S not in parse(f"https://e.com/?a=1&{written}={S}&b=2").shown


def test_names_of_ordinary_parameters_are_no_secrets() -> None:
    assert [
        n for n in ("q", "page", "id", "keyword", "author", "design", "passage", "sort", "tag", "v") if is_secret(n)
    ] == []


def test_where_a_redirect_leads_is_read_as_strictly() -> None:
    here = parse("https://e.com/a/b?token=x")
    assert here.join("c").full == "https://e.com/a/c"
    assert here.join("/c?d#e").full == "https://e.com/c?d"
    assert here.join("//f.com/").full == "https://f.com/"
    assert here.join("?p=2").full == "https://e.com/a/b?p=2"
    assert here.join("../ä").full == "https://e.com/%C3%A4"
    for location in (
        "http://0x7f000001/",
        "https://a@b/",
        "ftp://x/",
        "javascript:x",
        "http://[::1",
        "a\r\nb",
        "\\\\evil/",
        "http:\\\\e",
    ):
        with pytest.raises(ToolFailed):
            here.join(location)


def test_python_may_learn_of_new_private_networks_and_we_follow() -> None:
    # The table is ours, and what ipaddress refuses on top of it is refused as well.
    assert all(kind_of(network[1]) is not None for network in _private_networks())


def _private_networks() -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    names = (
        "0.0.0.0/8", "10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/29", "192.0.2.0/24",
        "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4", "::ffff:0:0/96", "100::/64",
        "2001::/23", "2001:db8::/32", "fc00::/7", "fe80::/10",
    )  # fmt: skip
    return [ip_network(name) for name in names]
