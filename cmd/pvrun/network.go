package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/hv/nic"
	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/internal/image"
	"github.com/pvrun/pvrun/internal/network"
)

// netFlags are what a command line says of the machine's network.
type netFlags struct {
	target           string
	ports            portFlags
	name             string
	ip, gateway, mac string
	dns              []string
	mtu              int
	rate             rateValue
	pcap             string

	byDefault string // target when there is none
	any       bool   // a program without sockets needs no network, whatever the target

	link    *network.Link
	capture *nic.Capture
}

// addFlags adds the flags. byDefault is the network of an image with sockets when the
// command line names none.
func (n *netFlags) addFlags(f *pflag.FlagSet, short, byDefault string) {
	n.addNet(f, byDefault)
	f.VarP(&n.ports, "publish", short, "lead a port of the host's into the machine, `[ADDR:]HOST:GUEST[/udp]`, from 127.0.0.1 unless ADDR says otherwise; may be repeated")
	f.StringVar(&n.name, "name", "", "`NAME` of the machine: its host name, and how others on a user network find it")
	f.StringVar(&n.ip, "ip", "", "`ADDR/PREFIX` of the machine on a TAP or bridge; without it the machine asks by DHCP")
	f.StringVar(&n.gateway, "gateway", "", "`ADDR` of the machine's way out, with --ip")
	f.StringSliceVar(&n.dns, "dns", nil, "`ADDR` of a name server, with --ip; those of the host if there is none")
	f.StringVar(&n.mac, "mac", "", "Ethernet `ADDRESS` of the machine; a random one if there is none")
	n.addTraffic(f)
}

// addForMany adds those of the flags that can hold for several machines.
func (n *netFlags) addForMany(f *pflag.FlagSet, byDefault string) {
	n.addNet(f, byDefault)
	f.StringVar(&n.name, "name", "", "host `NAME` of the machine")
	n.addTraffic(f)
}

func (n *netFlags) addNet(f *pflag.FlagSet, byDefault string) {
	n.byDefault = byDefault
	f.StringVar(&n.target, "net", "", "connect the machine to `NETWORK`: user, a virtual one of its own; user:NAME, one for all machines that say so; tap:NAME; bridge:NAME; or none. "+
		"A program with sockets gets "+byDefault+" by itself")
}

func (n *netFlags) addTraffic(f *pflag.FlagSet) {
	f.IntVar(&n.mtu, "mtu", 0, "most `BYTES` in a packet; the network's own if there is none")
	f.Var(&n.rate, "net-rate", "most bytes a second each way, a `SIZE` such as 10m")
	f.StringVar(&n.pcap, "pcap", "", "write all packets to `FILE`, for Wireshark and tshark")
}

// portFlags is a flag that may be given several times.
type portFlags []network.Port

func (p *portFlags) Type() string { return "port" }

func (p *portFlags) String() string {
	var all []string
	for _, port := range *p {
		all = append(all, port.String())
	}
	return strings.Join(all, " ")
}

func (p *portFlags) Set(text string) error {
	port, err := network.ParsePort(text)
	if err == nil {
		*p = append(*p, port)
	}
	return err
}

// rateValue is a flag for bytes a second; 0 is no limit.
type rateValue int64

func (v *rateValue) Type() string { return "size" }

func (v *rateValue) String() string {
	if *v == 0 {
		return ""
	}
	return (*sizeValue)(v).String()
}

func (v *rateValue) Set(s string) error {
	n, err := parseSize(s)
	if err == nil && n == 0 {
		err = errSize
	}
	*v = rateValue(n)
	return err
}

// attach connects the machine; close is for after it. What goes wrong later, while the
// machine runs, is told to warn.
func (n *netFlags) attach(cfg *hv.Config, warn func(error)) error {
	cfg.Hostname = n.name
	c, err := n.config(image.HasSockets(cfg.Image))
	if err != nil || c.Kind == network.None {
		return err
	}
	c.Gone, c.Plain = warn, cfg.Mode != hypercall.ModePV
	n.link, err = network.Open(c)
	if n.target == "" && len(n.ports) == 0 && errors.Is(err, network.ErrNoHelper) {
		warn(fmt.Errorf("there is no network: %w", err))
		return nil
	}
	if err != nil {
		return err
	}
	if err := n.record(); err != nil {
		return errors.Join(err, n.close())
	}
	for i, p := range n.link.Ports {
		if n.ports[i].Host.Port() == 0 {
			warn(fmt.Errorf("-p %v", p))
		}
	}
	cfg.NICs = []hv.NIC{n.card(n.link)}
	runtime.GOMAXPROCS(runtime.NumCPU() + waitingThreads)
	return nil
}

// record begins the capture, if there shall be one.
func (n *netFlags) record() error {
	if n.pcap == "" || n.capture != nil {
		return nil
	}
	file, err := os.Create(n.pcap)
	if err != nil {
		return fmt.Errorf("--pcap: %w", err)
	}
	n.capture = nic.NewCapture(file)
	return nil
}

// card is a machine's end of a network.
func (n *netFlags) card(l *network.Link) hv.NIC {
	return hv.NIC{
		Link: nic.Link{FD: l.FD, Offload: l.Offload},
		MTU:  l.MTU, MAC: l.MAC, DHCP: l.DHCP,
		Address: l.Address, Gateway: l.Gateway, DNS: l.DNS, Search: l.Search,
		Rate: int64(n.rate), Capture: n.capture,
	}
}

// config is the place that the flags describe.
func (n *netFlags) config(sockets bool) (c network.Config, err error) {
	target := n.target
	switch {
	case target == "" && sockets:
		target = n.byDefault
	case target == "":
		target = "none"
	case !sockets && n.any:
		return c, nil
	case !sockets && target != "none":
		return c, fmt.Errorf("--net %s: the program has no sockets: it does not import net", target)
	}
	if !sockets && len(n.ports) > 0 {
		return c, fmt.Errorf("-p %v: the program has no sockets: it does not import net", n.ports[0])
	}
	c = network.Config{Machine: n.name, MTU: n.mtu, Ports: n.ports}
	if c.Target, err = network.ParseTarget(target); err != nil {
		return c, fmt.Errorf("--net %s: %w", target, err)
	}
	if err = n.addresses(&c); err != nil {
		return c, err
	}
	if n.mtu != 0 && (n.mtu < hypercall.MinMTU || n.mtu > hypercall.MaxMTU) {
		return c, fmt.Errorf("--mtu %d: must be from %d to %d", n.mtu, hypercall.MinMTU, hypercall.MaxMTU)
	}
	return c, c.Check()
}

// words are the flags for another pvrun, with the file named by abs.
func (n *netFlags) words(abs func(string) (string, error)) (list []string, err error) {
	add := func(name, value string) {
		if value != "" {
			list = append(list, "--"+name+"="+value)
		}
	}
	add("net", n.target)
	for _, p := range n.ports {
		add("publish", p.String())
	}
	add("name", n.name)
	add("ip", n.ip)
	add("gateway", n.gateway)
	add("dns", strings.Join(n.dns, ","))
	add("mac", n.mac)
	if n.mtu != 0 {
		add("mtu", strconv.Itoa(n.mtu))
	}
	add("net-rate", n.rate.String())
	if n.pcap != "" {
		file, err := abs(n.pcap)
		if err != nil {
			return nil, err
		}
		add("pcap", file)
	}
	return list, nil
}

// addresses reads those that the flags name.
func (n *netFlags) addresses(c *network.Config) (err error) {
	if n.mac != "" {
		mac, err := net.ParseMAC(n.mac)
		if err != nil || len(mac) != len(c.MAC) || mac[0]&1 != 0 {
			return fmt.Errorf("--mac %s: must be one interface's, such as 52:54:00:12:34:56", n.mac)
		}
		copy(c.MAC[:], mac)
	}
	if n.ip != "" {
		if c.Address, err = netip.ParsePrefix(n.ip); err != nil {
			return fmt.Errorf("--ip %s: must be an address with the length of its network, such as 10.0.0.2/24", n.ip)
		}
	}
	if n.gateway != "" {
		if c.Gateway, err = netip.ParseAddr(n.gateway); err != nil {
			return fmt.Errorf("--gateway %s: is no IP address", n.gateway)
		}
	}
	for _, s := range n.dns {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return fmt.Errorf("--dns %s: is no IP address", s)
		}
		c.DNS = append(c.DNS, a)
	}
	return nil
}

// close leaves the network, and says what the capture lacks.
func (n *netFlags) close() error {
	var err error
	if n.capture != nil {
		err = n.capture.Close()
	}
	n.leave()
	return err
}

// leave leaves the network, where another machine may take its place.
func (n *netFlags) leave() {
	if n.link != nil {
		n.link.Close()
		n.link = nil
	}
}
