// Command fn-image answers a JPEG image with a small one of the same proportions.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"os"

	"golang.org/x/image/draw"

	"github.com/pvrun/pvrun/function"
)

const (
	side    = 128     // of a small image, the longer one, in pixels
	maxArea = 8 << 20 // of the message's image, in pixels
)

func main() {
	if err := function.Handle(thumbnail); err != nil {
		fmt.Fprintln(os.Stderr, "fn-image:", err)
		os.Exit(1)
	}
}

func thumbnail(_ context.Context, message []byte) ([]byte, error) {
	config, err := jpeg.DecodeConfig(bytes.NewReader(message))
	switch {
	case err != nil:
		return nil, err
	case config.Width*config.Height > maxArea:
		return nil, errors.New("the image is too large")
	}
	from, err := jpeg.Decode(bytes.NewReader(message))
	if err != nil {
		return nil, err
	}
	to := image.NewRGBA(fit(from.Bounds().Size()))
	draw.CatmullRom.Scale(to, to.Bounds(), from, from.Bounds(), draw.Src, nil)
	var out bytes.Buffer
	err = jpeg.Encode(&out, to, nil)
	return out.Bytes(), err
}

// fit is a size's proportions in a square of side.
func fit(size image.Point) image.Rectangle {
	longer := max(size.X, size.Y)
	return image.Rect(0, 0, max(1, size.X*side/longer), max(1, size.Y*side/longer))
}
