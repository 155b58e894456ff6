package hv

import (
	"errors"
	"os"
	"testing"

	"github.com/pvrun/pvrun/hv/kvm"
)

func TestMeasure(t *testing.T) {
	c, err := Measure()
	var none *kvm.UnavailableError
	if errors.As(err, &none) && os.Getenv("PVRUN_KVM") != "must" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if c.ExitNS <= 0 || c.PageNS <= 0 || c.UserNS <= 0 || c.RingZeroNS <= 0 {
		t.Errorf("Measure() = %+v, want positive times", c)
	}
	t.Logf("%+v", c)
}
