package function

import (
	"encoding/hex"
	"testing"
)

var handshakesImage = program("handshakes")

// Where a ClientHello has what the client has drawn: random, and the session's ID after
// its length (RFC 8446, section 4.1.2). Key shares, the longest of them some kilobytes,
// end it in no fixed place.
const (
	helloRandom  = 4 + 2
	helloSession = helloRandom + 32 + 1
	helloRest    = helloSession + 32
)

// TestHandshakes has lives of one snapshot begin TLS handshakes: none says what another
// has said.
func TestHandshakes(t *testing.T) {
	t.Parallel()
	snap := snapshotOf(t, built(t, handshakesImage))
	seen := map[string]bool{}
	for _, run := range []struct {
		lives int
		flags []string
	}{{300, nil}, {20, []string{"--fresh"}}} {
		hellos, _ := many(t, snap, "hello", run.lives, run.flags...)
		if len(hellos) != run.lives {
			t.Fatalf("%d handshakes of %d", len(hellos), run.lives)
		}
		for life, text := range hellos {
			b, err := hex.DecodeString(text)
			if err != nil || len(b) < helloRest {
				t.Fatalf("life %d: %q, %v", life, text, err)
			}
			for _, drawn := range [][]byte{b[helloRandom:][:16], b[helloRandom+16:][:16], b[helloSession:][:32], b[helloRest:]} {
				if seen[string(drawn)] {
					t.Errorf("life %d %v: %x came before", life, run.flags, drawn)
				}
				seen[string(drawn)] = true
			}
		}
	}
}
