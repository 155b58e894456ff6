package two

import "testing"

func TestDouble(t *testing.T) {
	if got := Double([]int{1, 2}); got != 6 {
		t.Errorf("got %d", got)
	}
}
