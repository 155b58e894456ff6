// Command fn-hello answers a message that has a name with a greeting.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/pvrun/pvrun/function"
)

func main() {
	if err := function.Handle(hello); err != nil {
		fmt.Fprintln(os.Stderr, "fn-hello:", err)
		os.Exit(1)
	}
}

func hello(_ context.Context, message []byte) ([]byte, error) {
	var who struct{ Name string }
	if err := json.Unmarshal(message, &who); err != nil {
		return nil, err
	}
	if who.Name == "" {
		return nil, errors.New("no name")
	}
	return []byte("hello " + who.Name + "\n"), nil
}
