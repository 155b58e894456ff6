package main

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/containers/gvisor-tap-vsock/pkg/services/dns"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
)

const (
	dnsPort = 53
	// maxLookups bounds names that are being looked up at a time, and lookupPatience
	// how long each may take.
	maxLookups     = 256
	lookupPatience = 10 * time.Second
	maxDNSConns    = 64
)

// resolver knows the machines by their names, and asks the host's resolver for others.
type resolver struct {
	network *network
	host    net.Resolver
	slots   chan struct{}
}

func newResolver(n *network) *resolver {
	return &resolver{network: n, slots: make(chan struct{}, maxLookups)}
}

// serveDNS answers at the gateway.
func (n *network) serveDNS() error {
	at := endpointOf(gateway, dnsPort)
	packets, err := gonet.DialUDP(n.stack, &at, nil, networkProtocol)
	if err != nil {
		return fmt.Errorf("serve DNS: %w", err)
	}
	listener, err := gonet.ListenTCP(n.stack, at, networkProtocol)
	if err != nil {
		return fmt.Errorf("serve DNS: %w", err)
	}
	server, err := dns.NewWithUpstreamResolver(packets, &boundedListener{listener, make(chan struct{}, maxDNSConns)}, nil, n.names)
	if err != nil {
		return fmt.Errorf("serve DNS: %w", err)
	}
	go server.Serve()
	go server.ServeTCP()
	return nil
}

// lookup calls f with a name as the host's resolver takes it, unless it is one of the
// network's own or too many are waited for.
func lookup[T any](r *resolver, name string, f func(ctx context.Context, name string) (T, error)) (found T, err error) {
	plain := plainName(name)
	if plain == domain || strings.HasSuffix(plain, "."+domain) {
		return found, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	default:
		return found, &net.DNSError{Err: "too many lookups", Name: name, IsTemporary: true}
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookupPatience)
	defer cancel()
	return f(ctx, name)
}

func plainName(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

func (r *resolver) LookupIPAddr(_ context.Context, name string) ([]net.IPAddr, error) {
	if a, ok := r.network.named(plainName(name)); ok {
		return []net.IPAddr{{IP: a.AsSlice()}}, nil
	}
	return lookup(r, name, r.host.LookupIPAddr)
}

func (r *resolver) LookupCNAME(_ context.Context, name string) (string, error) {
	return lookup(r, name, r.host.LookupCNAME)
}

func (r *resolver) LookupMX(_ context.Context, name string) ([]*net.MX, error) {
	return lookup(r, name, r.host.LookupMX)
}

func (r *resolver) LookupNS(_ context.Context, name string) ([]*net.NS, error) {
	return lookup(r, name, r.host.LookupNS)
}

func (r *resolver) LookupSRV(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
	list, err := lookup(r, name, func(ctx context.Context, name string) ([]*net.SRV, error) {
		_, list, err := r.host.LookupSRV(ctx, service, proto, name)
		return list, err
	})
	return name, list, err
}

func (r *resolver) LookupTXT(_ context.Context, name string) ([]string, error) {
	return lookup(r, name, r.host.LookupTXT)
}

// boundedListener has only so many connections at a time.
type boundedListener struct {
	net.Listener
	slots chan struct{}
}

func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case l.slots <- struct{}{}:
			return &boundedConn{Conn: c, free: sync.OnceFunc(func() { <-l.slots })}, nil
		default:
			c.Close()
		}
	}
}

type boundedConn struct {
	net.Conn
	free func()
}

func (c *boundedConn) Close() error {
	c.free()
	return c.Conn.Close()
}
