package image

import (
	"os"
	"syscall"

	"github.com/pvrun/pvrun/hypercall"
)

// HasSockets is whether the image in a file has sockets. What is wrong with it the machine
// will say.
func HasSockets(name string) bool {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO is not waited for
	if err != nil {
		return false
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false
	}
	img, err := Parse(f, info.Size())
	return err == nil && img.Note.Usable&hypercall.FeatureNet != 0
}
