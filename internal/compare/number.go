package compare

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// ExitsText is a number of exits for people. One that is as good as none is
// told from none.
func ExitsText(v float64) string {
	switch {
	case math.Abs(v) < 1e-9:
		return "0"
	case isNone(v): // also what is less than none, by what differs between two starts
		return fmt.Sprintf("<%v", None)
	}
	return number(v)
}

// NumberText is a number for people.
func NumberText(v float64) string { return number(v) }

// number has three digits or more, and a comma after each three of a large one.
func number(v float64) string {
	switch a := math.Abs(v); {
	case a >= 99.95:
		return group(strconv.FormatFloat(math.Round(v), 'f', 0, 64))
	case a >= 9.995:
		return trimZeros(strconv.FormatFloat(v, 'f', 1, 64))
	case a >= 0.9995:
		return trimZeros(strconv.FormatFloat(v, 'f', 2, 64))
	}
	return trimZeros(strconv.FormatFloat(v, 'f', 3, 64))
}

func trimZeros(s string) string {
	s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	if s == "-0" {
		return "0"
	}
	return s
}

func group(s string) string {
	sign := ""
	if s[0] == '-' {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// TimeText is a time of ns for people.
func TimeText(ns float64) string {
	for _, u := range []struct {
		least float64
		unit  string
	}{{999.5e6, "s"}, {999.5e3, "ms"}, {999.5, "µs"}} {
		if math.Abs(ns) >= u.least {
			return number(ns/(u.least/0.9995)) + " " + u.unit
		}
	}
	return number(ns) + " ns"
}

// RatioText is a ratio with its spread; - for nil.
func RatioText(s *Spread) string {
	if s == nil {
		return "-"
	}
	return fmt.Sprintf("%s (%s–%s)", times(s.Value), number(s.Min), number(s.Max))
}

func times(v float64) string { return number(v) + "x" }

// rangeText is the least and the greatest value.
func (s Spread) rangeText(text func(float64) string) string {
	return text(s.Min) + " to " + text(s.Max)
}

// timeRange is the least and the greatest of some times, with one unit if it is
// that of both.
func (s Spread) timeRange() string {
	least, most := TimeText(s.Min), TimeText(s.Max)
	if v, unit, _ := strings.Cut(least, " "); strings.HasSuffix(most, " "+unit) {
		least = v
	}
	return least + "–" + most
}

// plural is a number of things.
func plural(v float64, thing string) string {
	text := ExitsText(v)
	if text == "1" {
		return "1 " + thing
	}
	return text + " " + thing + "s"
}
