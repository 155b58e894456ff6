package socket

import "testing"

func TestX(t *testing.T) {}
