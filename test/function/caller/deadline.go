package main

import (
	"context"
	"time"
)

// deadline is for one question.
func deadline() context.Context {
	ctx, stop := context.WithTimeout(context.Background(), 10*time.Second)
	time.AfterFunc(11*time.Second, stop)
	return ctx
}
