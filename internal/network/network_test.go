package network

import (
	"net/netip"
	"reflect"
	"testing"
)

func TestParseTarget(t *testing.T) {
	for text, want := range map[string]Target{
		"none": {}, "user": {Kind: User}, "user:a.b-1": {User, "a.b-1"}, "tap:tap0": {TAP, "tap0"}, "bridge:br0": {Bridge, "br0"},
	} {
		got, err := ParseTarget(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("%s: got %v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"": ErrTarget.Error(), "host": ErrTarget.Error(), "none:x": ErrTarget.Error(),
		"tap":                     "tap needs a name: tap:NAME",
		"user:":                   `network "": a name has letters, digits, - _ and ., 40 at the most`,
		"user:../x":               `network "../x": a name has letters, digits, - _ and ., 40 at the most`,
		"tap:":                    `"" is no name of a network interface: it has up to 15 characters and none of / : %`,
		"tap:a%d":                 `"a%d" is no name of a network interface: it has up to 15 characters and none of / : %`,
		"bridge:abcdefghijklmno0": `"abcdefghijklmno0" is no name of a network interface: it has up to 15 characters and none of / : %`,
	} {
		if _, err := ParseTarget(text); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

func TestParsePort(t *testing.T) {
	for text, want := range map[string]string{
		"8080:80": "127.0.0.1:8080:80", "0:53/udp": "127.0.0.1:0:53/udp", "0.0.0.0:1:65535/tcp": "0.0.0.0:1:65535",
		"[::1]:8080:80": "[::1]:8080:80",
	} {
		p, err := ParsePort(text)
		if err != nil || p.String() != want {
			t.Errorf("%s: got %v, %v", text, p, err)
		}
		if again, err := ParsePort(p.String()); err != nil || again != p {
			t.Errorf("%v: got %v, %v", p, again, err)
		}
	}
	for _, text := range []string{"", "80", "x:80", "80:x", "80:0", "65536:80", "80:65536", "80:80/sctp", "localhost:80:80", ":80", "80:", "-1:80", "1:2:3:4"} {
		if p, err := ParsePort(text); err == nil {
			t.Errorf("%q: got %v", text, p)
		}
	}
}

func TestCheck(t *testing.T) {
	prefix, a, b := netip.MustParsePrefix("10.0.0.2/24"), netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fe80::1")
	ports := []Port{{netip.MustParseAddrPort("127.0.0.1:80"), 80, false}}
	tap := Target{TAP, "tap0"}
	for want, c := range map[string]Config{
		"--net none has no -p, --mtu or --mac":                                            {MTU: 1500},
		"-p is for --net user: with --net tap:tap0 the machine has an address of its own": {Target: tap, Ports: ports},
		"--ip, --gateway and --dns are for tap and bridge; --net user has its own":        {Target: Target{Kind: User}, Address: prefix},
		"--gateway and --dns need --ip; without it the machine asks by DHCP":              {Target: tap, Gateway: a},
		"--gateway fe80::1: not of the same kind as --ip 10.0.0.2/24":                     {Target: tap, Address: prefix, Gateway: b},
		"--gateway 10.0.0.2: that is the machine itself":                                  {Target: tap, Address: prefix, Gateway: prefix.Addr()},
		"--name a b: must be letters, digits and -, 63 at the most":                       {Target: Target{Kind: User}, Machine: "a b"},
	} {
		if err := c.Check(); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	for _, c := range []Config{{}, {Target: tap, Address: prefix, Gateway: a}, {Target: Target{User, "x"}, Machine: "web", Ports: ports}} {
		if err := c.Check(); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestResolvConf(t *testing.T) {
	servers, search := resolvConf("# x\nnameserver 127.0.0.53\nnameserver 10.0.0.53\nnameserver fe80::1%eth0\nnameserver 2001:db8::1\nsearch a.example b.example\noptions edns0\nnameserver\n")
	want := []netip.Addr{netip.MustParseAddr("10.0.0.53"), netip.MustParseAddr("2001:db8::1")}
	if !reflect.DeepEqual(servers, want) || search != "a.example b.example" {
		t.Errorf("got %v, %q", servers, search)
	}
}
