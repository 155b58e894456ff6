package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/pvrun/pvrun/hv"
)

// wireError is an error of package hv's on its way. One of the others is left.
type wireError struct {
	Ended  *hv.Exit       `json:",omitempty"` // hv.EndedError
	Fault  *hv.GuestFault `json:",omitempty"`
	Defect []byte         `json:",omitempty"` // the stack; Text is the value
	Op     string         `json:",omitempty"` // hv.HostError
	Text   string         `json:",omitempty"`
	Memory bool           `json:",omitempty"` // it is hv.ErrMemory
	Over   bool           `json:",omitempty"` // the invocation was cancelled
}

// maxErrorText bounds each text of an error, in bytes: JSON makes six of some.
const maxErrorText = maxText / 16

func cut[T ~string | ~[]byte](s T) T { return s[:min(len(s), maxErrorText)] }

func encodeError(err error) []byte {
	var w wireError
	var ended *hv.EndedError
	var fault *hv.GuestFault
	var defect *hv.Defect
	var host *hv.HostError
	switch {
	case errors.Is(err, context.Canceled):
		w.Over = true
	case errors.As(err, &ended):
		w.Ended = &ended.Exit
	case errors.As(err, &fault):
		w.Fault = &hv.GuestFault{Reason: cut(fault.Reason), Regs: fault.Regs}
	case errors.As(err, &defect):
		w.Defect, w.Text = append([]byte{}, cut(defect.Stack)...), cut(fmt.Sprint(defect.Value))
	case errors.As(err, &host):
		w.Op, w.Text = cut(host.Op), cut(host.Err.Error())
	default:
		w.Text = cut(err.Error())
	}
	w.Memory = errors.Is(err, hv.ErrMemory)
	b, err := json.Marshal(w)
	if err != nil { // there is nothing in it that could fail
		return []byte("{}")
	}
	return b
}

// errCancelled is an invocation that has ended because the other side wanted that.
var errCancelled = errors.New("cancelled")

func decodeError(b []byte) error {
	var w wireError
	if err := json.Unmarshal(b, &w); err != nil {
		return fmt.Errorf("an error that cannot be read: %w", err)
	}
	switch {
	case w.Over:
		return errCancelled
	case w.Ended != nil:
		return &hv.EndedError{Exit: *w.Ended}
	case w.Fault != nil:
		return w.Fault
	case w.Defect != nil:
		return &hv.Defect{Value: w.Text, Stack: w.Defect}
	}
	err := error(&farError{w.Text, w.Memory})
	if w.Op != "" {
		err = &hv.HostError{Op: w.Op, Err: err}
	}
	return err
}

// farError is an error of which the text has come.
type farError struct {
	text   string
	memory bool
}

func (e *farError) Error() string { return e.text }

func (e *farError) Is(target error) bool { return e.memory && target == hv.ErrMemory }
