// Command handshakes answers each message with what a TLS client would send first.
package main

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"io"
	"log"
	"net"
	"time"

	"github.com/pvrun/pvrun/function"
)

func main() {
	// What the package draws once, it has drawn before the snapshot.
	if _, err := hello(); err != nil {
		log.Fatal(err)
	}
	if err := function.Handle(answer); err != nil {
		log.Fatal(err)
	}
}

func answer(context.Context, []byte) ([]byte, error) {
	b, err := hello()
	return hex.AppendEncode(nil, b), err
}

// hello is the first record of a handshake (RFC 8446, section 4.1.2, "Client Hello").
func hello() ([]byte, error) {
	near, far := net.Pipe()
	defer far.Close()
	go func() {
		tls.Client(near, &tls.Config{ServerName: "a.example"}).Handshake() // far is closed on it
		near.Close()
	}()
	far.SetReadDeadline(time.Now().Add(10 * time.Second))
	var header [5]byte
	if _, err := io.ReadFull(far, header[:]); err != nil {
		return nil, err
	}
	b := make([]byte, int(header[3])<<8|int(header[4]))
	if _, err := io.ReadFull(far, b); err != nil {
		return nil, err
	}
	if header[0] != 22 || len(b) < 256 {
		return nil, errors.New("that is no handshake")
	}
	return b, nil
}
