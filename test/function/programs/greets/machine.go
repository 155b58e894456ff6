//go:build pvrun

package main

import (
	"context"

	"github.com/pvrun/pvrun/function"
)

func serve() error {
	return function.Handle(func(_ context.Context, message []byte) ([]byte, error) { return greet(message) })
}
