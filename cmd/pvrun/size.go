package main

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/hypercall"
)

// sizeValue is a flag for a size in bytes: 64m, 64M, 64Mi, 1g, 1t. Units are
// powers of 1024, as docker's are.
type sizeValue int64

func (v *sizeValue) Type() string { return "size" }

func (v *sizeValue) String() string {
	n := int64(*v)
	for i, unit := range []string{"t", "g", "m", "k"} {
		if size := int64(1) << (40 - 10*i); n >= size && n%size == 0 {
			return strconv.FormatInt(n/size, 10) + unit
		}
	}
	return strconv.FormatInt(n, 10)
}

func (v *sizeValue) Set(s string) error {
	n, err := parseSize(s)
	switch {
	case err != nil:
	case n == 0:
		err = errSize
	case n < hv.MinMemory && strings.Trim(s, "0123456789") == "":
		err = fmt.Errorf("%s bytes are too few; give a unit, such as 64m", s)
	case n < hv.MinMemory || n > hv.MaxMemory || n%hypercall.PageSize != 0:
		err = errors.New("must be from 1m to 1t, in whole pages of 4k")
	}
	*v = sizeValue(n)
	return err
}

var errSize = errors.New("must be a number with a unit such as 64m or 1g")

func parseSize(s string) (int64, error) {
	unit := strings.ToLower(strings.TrimLeft(s, "0123456789"))
	n, err := strconv.ParseInt(s[:len(s)-len(unit)], 10, 64)
	if err != nil {
		return 0, errSize
	}
	shift, ok := map[string]int{
		"": 0, "b": 0,
		"k": 10, "kb": 10, "ki": 10, "kib": 10,
		"m": 20, "mb": 20, "mi": 20, "mib": 20,
		"t": 40, "tb": 40, "ti": 40, "tib": 40,
		"g": 30, "gb": 30, "gi": 30, "gib": 30,
	}[unit]
	if !ok {
		return 0, errSize
	}
	if n > math.MaxInt64>>shift {
		return 0, fmt.Errorf("%s is too large", s)
	}
	return n << shift, nil
}
