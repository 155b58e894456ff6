package hv

import (
	"testing"

	"github.com/pvrun/pvrun/internal/need"
)

func TestMeasure(t *testing.T) {
	need.KVM(t)
	c, err := Measure()
	if err != nil {
		t.Fatal(err)
	}
	if c.ExitNS <= 0 || c.KernelExitNS <= 0 || c.FaultNS <= 0 || c.PageNS <= 0 || c.UserNS <= 0 || c.RingZeroNS <= 0 {
		t.Errorf("Measure() = %+v, want positive times", c)
	}
	t.Logf("%+v", c)
}

func TestMeasureProcess(t *testing.T) {
	c, err := MeasureProcess()
	if err != nil {
		t.Fatal(err)
	}
	if c.ExitNS <= 0 || c.FaultNS <= 0 || c.PageNS <= 0 || c.UserNS <= 0 || c.KernelExitNS != 0 || c.RingZeroNS != 0 {
		t.Errorf("MeasureProcess() = %+v, want positive times, and none of what it has not", c)
	}
	t.Logf("%+v", c)
}
