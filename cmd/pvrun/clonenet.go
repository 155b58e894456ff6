package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"

	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/internal/network"
)

// clones connects the machines that are made of a snapshot: each is a member of its own.
// nil connects none.
type clones struct {
	flags  *netFlags
	config network.Config
	warn   func(error)
}

// clones is for a snapshot with such NICs. One that has some is on byDefault's network when
// the command line names none.
func (n *netFlags) clones(info hv.SnapshotInfo, warn func(error)) (*clones, error) {
	switch {
	case info.NICs == 0 && (n.target != "" && n.target != "none" || len(n.ports) > 0):
		return nil, errors.New("--net, -p: the snapshot has no network: make it with --net")
	case info.NICs == 0:
		return nil, nil
	case info.NICs > 1:
		return nil, fmt.Errorf("the snapshot has %d network interfaces: pvrun connects one", info.NICs)
	}
	n.byDefault = "user"
	c, err := n.config(true)
	if err != nil || c.Kind == network.None {
		return nil, err
	}
	c.Gone = warn
	if err := n.record(); err != nil {
		return nil, err
	}
	return &clones{n, c, warn}, nil
}

// shared has all machines on one network, in place of one for each. Their names are theirs
// alone, and not the network's.
func (k *clones) shared() {
	if k == nil {
		return
	}
	if k.config.Machine = ""; k.config.Kind == network.User && k.config.Name == "" {
		k.config.Name = fmt.Sprint("pvrun-", os.Getpid())
	}
}

// join connects a machine. leave is for after it.
func (k *clones) join() (cards []hv.NIC, leave func(), err error) {
	if k == nil {
		return nil, func() {}, nil
	}
	c := k.config
	c.Ports = slices.Clone(c.Ports)
	link, err := network.Open(c)
	if k.flags.target == "" && len(c.Ports) == 0 && errors.Is(err, network.ErrNoHelper) {
		k.warn(fmt.Errorf("there is no network: %w", err))
		return nil, func() {}, nil
	}
	if err != nil {
		return nil, nil, err
	}
	for i, p := range link.Ports {
		if c.Ports[i].Host.Port() == 0 {
			k.warn(fmt.Errorf("-p %v", p))
		}
	}
	runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), runtime.NumCPU()+waitingThreads))
	return []hv.NIC{k.flags.card(link)}, link.Close, nil
}
