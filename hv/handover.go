package hv

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"syscall"
)

// Handover is a snapshot as one process gives it to another of the same user: a
// descriptor of its pages, which nobody can change any more, and what describes them.
// Machines of both share the pages.
type Handover struct {
	Pages *os.File // the snapshot's own; it is not closed before the snapshot
	State []byte   // at most MaxHandover bytes
}

// MaxHandover bounds Handover.State, in bytes.
const MaxHandover = maxSnapshotText

// Handover is of a snapshot that stays as it is.
func (s *Snapshot) Handover() (Handover, error) {
	if s.file == nil {
		return Handover{}, &HostError{"hand snapshot over", errors.New("it is for one machine")}
	}
	state, err := json.Marshal(&s.state)
	switch {
	case err != nil:
		return Handover{}, &HostError{"hand snapshot over", err}
	case len(state) > MaxHandover:
		return Handover{}, &HostError{"hand snapshot over", fmt.Errorf("its description has %d bytes", len(state))}
	}
	return Handover{s.file, state}, nil
}

// ReceiveSnapshot makes a snapshot of another process's Handover. The pages' hashes are
// not asked for: they are as the other process has checked them. All else is checked as
// of a file. h.Pages is the snapshot's from now on, after an error too.
func ReceiveSnapshot(h Handover) (*Snapshot, error) {
	s := &Snapshot{file: h.Pages}
	if err := s.receive(h.State); err != nil {
		return nil, errors.Join(&HostError{"receive snapshot", err}, s.Close())
	}
	return s, nil
}

func (s *Snapshot) receive(state []byte) error {
	if !isSealed(s.file) {
		return errors.New("its pages can be changed")
	}
	syscall.CloseOnExec(int(s.file.Fd()))
	st, err := s.file.Stat()
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(state))
	d.DisallowUnknownFields()
	if err := d.Decode(&s.state); err != nil {
		return err
	}
	if st.Size()%pageSize != 0 {
		return fmt.Errorf("%d bytes are no pages", st.Size())
	}
	if err := errors.Join(s.state.check(st.Size()>>pageShift), fitsHost(s.state.Memory)); err != nil {
		return err
	}
	return s.open()
}
