// Package network connects machines to networks of the host's: TAP devices, bridges,
// and the virtual network that the program pvrun-net is.
package network

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Kind is what a machine's network is.
type Kind int

// The kinds of networks.
const (
	None   Kind = iota
	User        // pvrun-net's
	TAP         // a TAP device
	Bridge      // a TAP device made for the machine, at a bridge
)

// Target is the value of --net.
type Target struct {
	Kind Kind
	Name string // of the TAP, the bridge or the shared network; "" for a network of the machine's own
}

func (t Target) String() string {
	text := [...]string{"none", "user", "tap", "bridge"}[t.Kind]
	if t.Name != "" {
		text += ":" + t.Name
	}
	return text
}

// ErrTarget says what a target looks like.
var ErrTarget = errors.New("must be user, user:NAME, tap:NAME, bridge:NAME or none")

var networkName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,39}$`) })

// ParseTarget reads the value of --net.
func ParseTarget(s string) (Target, error) {
	kind, name, named := strings.Cut(s, ":")
	switch t := (Target{Name: name}); {
	case kind == "none" && !named:
		return t, nil
	case kind == "user" && named && !networkName().MatchString(name):
		return t, fmt.Errorf("network %q: a name has letters, digits, - _ and ., 40 at the most", name)
	case kind == "user":
		t.Kind = User
		return t, nil
	case (kind == "tap" || kind == "bridge") && !named:
		return t, fmt.Errorf("%s needs a name: %s:NAME", kind, kind)
	case kind == "tap":
		t.Kind = TAP
		return t, checkInterface(name)
	case kind == "bridge":
		t.Kind = Bridge
		return t, checkInterface(name)
	}
	return Target{}, ErrTarget
}

// checkInterface is an error for what the kernel would not call an interface
// (dev_valid_name).
func checkInterface(name string) error {
	if name == "" || len(name) >= unix.IFNAMSIZ || name == "." || name == ".." || strings.ContainsAny(name, "/:% \t\n\v\f\r\x00") {
		return fmt.Errorf("%q is no name of a network interface: it has up to %d characters and none of / : %%", name, unix.IFNAMSIZ-1)
	}
	return nil
}

// Config is a machine's place on a network.
type Config struct {
	Target
	Machine string // its name, by which others on the network find it; or ""
	MAC     [6]byte
	MTU     int // 0: the network's own
	Ports   []Port
	Plain   bool // the machine wants whole frames, with their checksums

	// For TAP and Bridge. Without Address the machine asks by DHCP.
	Address netip.Prefix
	Gateway netip.Addr
	DNS     []netip.Addr

	// Gone is called, from any goroutine, when a network of kind User ends under the
	// machine, or cannot take it.
	Gone func(error)
}

// Check finds what does not go together.
func (c *Config) Check() error {
	onHost := c.Kind == TAP || c.Kind == Bridge
	switch {
	case c.Kind == None && (len(c.Ports) > 0 || c.MTU != 0 || c.MAC != [6]byte{}):
		return errors.New("--net none has no -p, --mtu or --mac")
	case len(c.Ports) > 0 && c.Kind != User:
		return fmt.Errorf("-p is for --net user: with --net %v the machine has an address of its own", c.Target)
	case !onHost && (c.Address.IsValid() || c.Gateway.IsValid() || len(c.DNS) > 0):
		return fmt.Errorf("--ip, --gateway and --dns are for tap and bridge; --net %v has its own", c.Target)
	case !c.Address.IsValid() && (c.Gateway.IsValid() || len(c.DNS) > 0):
		return errors.New("--gateway and --dns need --ip; without it the machine asks by DHCP")
	case c.Gateway.IsValid() && c.Gateway.Is4() != c.Address.Addr().Is4():
		return fmt.Errorf("--gateway %v: not of the same kind as --ip %v", c.Gateway, c.Address)
	case c.Gateway.IsValid() && c.Gateway == c.Address.Addr():
		return fmt.Errorf("--gateway %v: that is the machine itself", c.Gateway)
	case c.Kind == User && c.Machine != "" && !machineName().MatchString(c.Machine):
		return fmt.Errorf("--name %s: must be letters, digits and -, 63 at the most", c.Machine)
	}
	return nil
}

// machineName is what pvrun-net takes too.
var machineName = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)
})

// Link is a machine's end of its network, in the terms of hv.NIC.
type Link struct {
	FD                            int
	Offload                       bool
	MAC                           [6]byte
	MTU                           int
	Address, Gateway, DNS, Search string
	DHCP                          bool
	// Ports are those of Config, with host ports that the host chose.
	Ports []Port

	close func()
	once  sync.Once
}

// Open connects a machine. Ports of the host's are bound when it returns.
func Open(c Config) (*Link, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	if c.MAC == [6]byte{} {
		if err := randomMAC(&c.MAC); err != nil {
			return nil, err
		}
	}
	switch c.Kind {
	case User:
		return openUser(c)
	case TAP:
		return openTAP(c)
	case Bridge:
		return openBridge(c)
	}
	return nil, errors.New("there is no network to open")
}

// Close leaves the network. The machine has ended, or has another link.
func (l *Link) Close() { l.once.Do(l.close) }

// randomMAC makes an address that is locally administered and one machine's
// (IEEE 802, 8.4).
func randomMAC(mac *[6]byte) error {
	if _, err := unix.Getrandom(mac[:], 0); err != nil {
		return fmt.Errorf("make a MAC address: %w", err)
	}
	mac[0] = mac[0]&^1 | 2
	return nil
}
