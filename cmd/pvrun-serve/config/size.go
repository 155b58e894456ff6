package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/hypercall"
)

// Size is of memory, in bytes: 64m, 1g, as for pvrun run. It is a flag's value, too.
type Size int64

func (v *Size) Type() string { return "size" }

func (v *Size) String() string {
	if *v == 0 {
		return ""
	}
	return strconv.FormatInt(int64(*v)>>20, 10) + "m"
}

// Set reads a size.
func (v *Size) Set(text string) error {
	unit := strings.ToLower(strings.TrimLeft(text, "0123456789"))
	n, err := strconv.ParseInt(text[:len(text)-len(unit)], 10, 64)
	shift, known := map[string]int{"k": 10, "m": 20, "g": 30, "t": 40}[strings.TrimSuffix(strings.TrimSuffix(unit, "b"), "i")]
	switch {
	case err != nil || !known:
		return errors.New("must be a number with a unit such as 64m or 1g")
	case n > math.MaxInt64>>shift || n<<shift < hv.MinMemory || n<<shift > hv.MaxMemory || n<<shift%hypercall.PageSize != 0:
		return errors.New("must be from 1m to 1t, in whole pages of 4k")
	}
	*v = Size(n << shift)
	return nil
}

// UnmarshalYAML is of the YAML library.
func (v *Size) UnmarshalYAML(n *yaml.Node) error {
	if err := v.Set(n.Value); err != nil {
		return fmt.Errorf("line %d: %q: %w", n.Line, n.Value, err)
	}
	return nil
}
