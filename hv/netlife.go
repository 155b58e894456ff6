package hv

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/pvrun/pvrun/hv/nic"
	"github.com/pvrun/pvrun/hypercall"
)

// NICs of machines that are made of snapshots. A snapshot has how many there are and
// where their rings lie, which are empty in it. What else they are, each life is told.

// findRings finds the NICs' rings by their addresses, in memory that may be a file's:
// frames in a row that nothing else is in, and of which nothing is stored.
func (s *Snapshot) findRings() (rings []frame, err error) {
	t := &pageTables{mem: s.base, root: s.state.Root}
	for i := range s.state.NICs {
		first := frame(0)
		for n := range frame(netRingPages) {
			const all, want = ptePresent | pteUser | pteWrite | pteNX, ptePresent | pteUser | pteWrite | pteNX
			e := t.slot(uint64(netRingGVA(i))+uint64(n)<<pageShift, false)
			if e == nil || e.load()&all != want {
				return nil, fmt.Errorf("there is no page %d of NIC %d's rings", n, i)
			}
			f := e.load().frame()
			if n == 0 {
				first = f
			}
			if f != first+n || s.seen.shared(f) {
				return nil, fmt.Errorf("page %d of NIC %d's rings is frame %#x", n, i, f)
			}
		}
		if err := s.checkEmpty(extent{first, netRingPages}); err != nil {
			return nil, fmt.Errorf("rings of NIC %d: %w", i, err)
		}
		rings = append(rings, first)
	}
	return rings, nil
}

// checkEmpty finds contents in frames.
func (s *Snapshot) checkEmpty(x extent) error {
	for _, stored := range s.state.Extents {
		for f := max(x.First, stored.First); f < min(x.end(), stored.end()); f++ {
			if !isZero(s.base.page(f)) {
				return fmt.Errorf("contents of frame %#x", f)
			}
		}
	}
	return nil
}

// nicRoom is how much of start info clones may fill with what they tell of a NIC, in
// bytes; maxNICText is of that what there may be of addresses and names.
const (
	maxNICText = 1 << 10
	nicRoom    = nicRecord + maxNICText
)

// findNICInfo is where start info tells of the NICs.
func (s *Snapshot) findNICInfo(start frame) (hypercall.GVA, error) {
	if s.state.NICs == 0 {
		return 0, nil
	}
	info := s.base.startInfo(start)
	at, n := info.NICs.Addr, hypercall.GVA(s.state.NICs*nicRoom)
	first := hypercall.StartInfoGVA + hypercall.GVA(len(bytesOf(info)))
	if int(info.NICCount) != s.state.NICs || at < first || at > hypercall.StartInfoGVA+hypercall.MaxStartInfo-n || at%8 != 0 {
		return 0, errors.New("start info tells of other NICs")
	}
	return at, nil
}

// cloneNICs are the NICs of a machine that is made of the snapshot.
func (s *Snapshot) cloneNICs(list []NIC) ([]NIC, error) {
	if len(list) == 0 {
		list = make([]NIC, s.state.NICs)
		for i := range list {
			list[i].down = true
		}
	}
	if len(list) != s.state.NICs {
		return nil, &HostError{"resume", fmt.Errorf("%d NICs; the snapshot has %d", len(list), s.state.NICs)}
	}
	cfg := Config{NICs: list}
	return cfg.NICs, cfg.checkNICs()
}

// tellNICs writes into start info what the NICs of this life are.
func (vm *VM) tellNICs() error {
	at := vm.from.pages.nics
	if at == 0 {
		return nil
	}
	b := nicInfo(vm.cfg.NICs, at, netRingGVA)
	vm.start.info.NICs = hypercall.Extent{Addr: at, Len: uint64(len(vm.cfg.NICs) * nicRecord)}
	vm.start.info.NICCount = uint32(len(vm.cfg.NICs))
	return vm.writeStart(uint64(at), append(b, make([]byte, len(vm.cfg.NICs)*nicRoom-len(b))...))
}

// nicInfo is what start info has of NICs at an address: the records, and behind them the
// texts.
func nicInfo(list []NIC, at hypercall.GVA, ring func(int) hypercall.GVA) []byte {
	var records, texts []byte
	at += hypercall.GVA(len(list) * nicRecord)
	add := func(s string) hypercall.Extent {
		s = strings.Join(strings.Fields(s), " ")
		e := hypercall.Extent{Addr: at + hypercall.GVA(len(texts)), Len: uint64(len(s))}
		texts = append(append(texts, s...), 0)
		return e
	}
	for i := range list {
		n := &list[i]
		r := hypercall.NIC{
			Ring: ring(i), MTU: uint32(n.MTU), Flags: n.flags(), MAC: n.MAC,
			Address: add(n.Address), Gateway: add(n.Gateway), DNS: add(n.DNS), Search: add(n.Search),
		}
		records = append(records, bytesOf(&r)...)
	}
	return append(records, texts...)
}

// empty takes away what the rings hold, once the workers have ended: it is the machine's
// that was booted, and none of its lives'.
func (n *network) empty() error {
	if n == nil {
		return nil
	}
	for _, a := range n.nics {
		if err := n.vm.mem.discard(a.first, netRingPages); err != nil {
			return err
		}
	}
	return nil
}

// sendLast sends what a program has put that is to be another life's. The caller has the
// network at rest. What the link does not take now is lost.
func (n *network) sendLast() {
	if n == nil {
		return
	}
	for _, a := range n.nics {
		for turns := 0; turns < lastTurns && a.transmit(); turns++ {
		}
	}
}

// renew makes the network that of another life, whose rings are zeros again: nothing that
// has come for the life before reaches this one. The caller has it at rest.
func (n *network) renew() {
	if n == nil {
		return
	}
	asleep := false
	for _, a := range n.nics {
		asleep = asleep || a.full || !a.stuck.IsZero()
		a.drain()
		a.renew()
	}
	if asleep {
		n.bell.ring() // the worker waits for what will not come
	}
}

// renew begins with empty rings. What is of the link stays: whether it is up, whether it
// takes anything, and what the rate has it wait for.
func (a *adapter) renew() {
	a.tx.cons = 0
	a.rx.cons, a.rx.prod, a.rx.next = 0, 0, 0
	a.full = false
	a.told.since.Store(0)
	a.told.packets, a.told.room = want{}, want{}
	a.begin()
	if a.awake.Load() {
		a.setPolling(1)
	}
}

// begin tells the guest what it finds in rings of zeros.
func (a *adapter) begin() {
	a.tx.arm()
	if a.link == linkUp {
		atomic.StoreUint32(&a.shared.Link, 1)
	}
}

// maxDrained is more frames than links queue: a unix socket has less than 4 MiB, of 768
// bytes and more each, and a TAP 1000. Those that are sent meanwhile may be without end.
const maxDrained = 16 << 10

// drain drops what the link has queued.
func (a *adapter) drain() {
	if a.link == linkGone {
		return
	}
	var h nic.Header
	var frame [1]byte // the rest is cut off
	for range maxDrained {
		if _, err := a.port.Link().Receive(&h, frame[:]); err != nil && err != nic.ErrShort {
			return // the worker will learn why
		}
		a.net.count.rxDropped.Add(1)
	}
}
