package main

import (
	"context"
	"slices"
	"time"
)

// side is where a unit runs.
type side string

const (
	native side = "native" // on this machine, by the installed Go
	here   side = "here"   // in a machine of pvrun
	// standin is what takes the place of here while there is no pvrun to
	// test: the installed Go again.
	standin side = "standin"
)

// section is a part of the document.
type section struct {
	name  string
	units func(ctx context.Context, l *lab) ([]unit, error)
}

var sections = []section{
	{"std", stdUnits},
	{"goroot", programUnits},
	{"modules", moduleUnits},
}

func sectionNames() (names []string) {
	for _, s := range sections {
		names = append(names, s.name)
	}
	return names
}

// unit is what runs, is timed and is stored at once.
type unit struct {
	section string
	name    string // unique in its section
	group   string // the row of the table that it counts in
	pkg     string // as exclusions.txt and the lists name it
	// inputs is what its results depend on beside what all depend on.
	inputs string
	run    func(ctx context.Context, s side, t budget) (*result, error)
}

// budget is the time that a unit has.
type budget struct {
	most   time.Duration
	native *result // how it went natively; nil: it is running natively
}

// A machine has one CPU, and what costs little natively can cost more in it.
// Nothing that is about to end shall be given up.
const (
	patience    = 4
	minPatience = 3 * time.Minute
)

// limit is how long a round without the tests in skip may take, or one of the
// test only. It is a multiple of the time that it takes natively.
func (b budget) limit(c choice) time.Duration {
	if b.native == nil {
		return b.most
	}
	seconds := b.native.Seconds
	switch {
	case c.run != "":
		seconds = b.native.Times[c.run]
	case len(c.skip) > 0:
		seconds = 0
		for name, t := range b.native.Times {
			if !slices.Contains(c.skip, name) {
				seconds += t
			}
		}
		seconds = min(seconds, b.native.Seconds)
	}
	d := minPatience + time.Duration(patience*seconds)*time.Second
	return min(d, b.most)
}

// quiet is how long a package may say nothing: far longer than its longest test
// does natively.
func (b budget) quiet() time.Duration {
	if b.native == nil {
		return 0
	}
	longest := 0.0
	for _, t := range b.native.Times {
		longest = max(longest, t)
	}
	return 2*time.Minute + time.Duration(4*longest)*time.Second
}
