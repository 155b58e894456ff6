package kvm

import (
	"testing"
	"time"

	"github.com/pvrun/pvrun/hv/engine"
)

// hold has KVM hold an exception, as when the machine is kicked before its delivery.
func (v *VCPU) hold(vector uint8) {
	events := v.run.events()
	clear(events)
	events[eventsInjected], events[eventsVector] = 1, vector
	*v.run.u64(runDirtyRegs) |= syncEvents
}

// interrupt has the vCPU come out before it has gone in.
func (v *VCPU) interrupt(t *testing.T) engine.Exit {
	t.Helper()
	v.Kick()
	e, err := v.Run()
	if err != nil || e.Reason != engine.Interrupted {
		t.Fatalf("%+v, %v", e, err)
	}
	return e
}

// TestHeldInFlight: an exception that KVM holds is in flight, INT3's too, and nothing
// is any more when KVM has let it go.
func TestHeldInFlight(t *testing.T) {
	const invalid, protection = 6, 13
	for _, vector := range []uint8{vectorBreakpoint, invalid, protection} {
		v := newMachine(t, nil)
		if v.interrupt(t).InFlight {
			t.Error("in flight in a new machine")
		}
		v.hold(vector)
		for range 2 {
			if !v.interrupt(t).InFlight {
				t.Errorf("vector %d is held and not in flight", vector)
			}
		}
		clear(v.run.events())
		*v.run.u64(runDirtyRegs) |= syncEvents
		if v.interrupt(t).InFlight {
			t.Errorf("vector %d was taken back and is in flight", vector)
		}
	}
}

// TestArrivedNotInFlight: an exception that has come out is not in flight.
func TestArrivedNotInFlight(t *testing.T) {
	for vector, code := range map[uint8][]byte{vectorBreakpoint: {0xcc}, 6: {0x0f, 0x0b}} {
		v := newMachine(t, code)
		for range 3 {
			e, err := v.Run()
			if err != nil || e.Reason != engine.Exception || e.Vector != vector {
				t.Fatalf("%+v, %v", e, err)
			}
			if v.interrupt(t).InFlight {
				t.Errorf("vector %d has come out and is in flight", vector)
			}
			v.Regs().RIP = codeGVA
			v.RegsChanged()
		}
	}
}

// TestKicksLoseNoException: kicks come at every moment of an exception's way, and
// registers are written wherever that is allowed. Each instruction that raises one is
// seen once.
func TestKicksLoseNoException(t *testing.T) {
	for name, raise := range map[string][]byte{"INT3": {0xcc}, "UD2": {0x0f, 0x0b}, "HLT": {0xf4}} {
		t.Run(name, func(t *testing.T) {
			code := append([]byte{0x48, 0xff, 0xc3}, raise...) // inc rbx
			v := newMachine(t, append(code, 0xeb, byte(-len(code)-2)))
			defer kickOften(v)()
			for seen, kicks := uint64(0), 0; kicks < 300; {
				e, err := v.Run()
				if err != nil {
					t.Fatal(err)
				}
				switch {
				case e.Reason == engine.Exception:
					if seen++; v.Regs().RBX != seen {
						t.Fatalf("exception %d comes after %d instructions", seen, v.Regs().RBX)
					}
					v.Regs().RIP = codeGVA + uint64(len(code))
					v.RegsChanged()
				case e.Reason != engine.Interrupted:
					t.Fatalf("%+v", e)
				case e.InFlight:
					kicks++
				default:
					kicks++
					v.RegsChanged()
				}
			}
		})
	}
}

// kickOften kicks a vCPU until stop is called.
func kickOften(v *VCPU) (stop func()) {
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-end:
				return
			case <-time.After(20 * time.Microsecond):
				v.Kick()
			}
		}
	}()
	return func() { close(end); <-ended }
}
