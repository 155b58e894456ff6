package main

import (
	"context"
	"strings"
)

// withTests makes go list name the packages that have tests.
const withTests = `{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}`

// stdUnits are the packages of the standard library that have tests.
func stdUnits(ctx context.Context, l *lab) (units []unit, err error) {
	out, err := l.goCommand("list", "-f", withTests, "std").output(ctx)
	if err != nil {
		return nil, err
	}
	for _, pkg := range strings.Fields(out) {
		units = append(units, l.testUnit("std", pkg, pkg, l.module(), "", ways{}))
	}
	return units, nil
}
