// Command wordcount counts the lines, words, bytes and runes of its standard
// input and prints the most frequent words.
package main

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"unicode"
	"unicode/utf8"
)

// maxWord is where a word without end is cut, in bytes.
const maxWord = 256

func main() {
	c := counter{words: map[string]*int{}}
	if err := c.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "wordcount:", err)
		os.Exit(1)
	}
	c.print(os.Stdout)
}

type counter struct {
	lines, total, bytes, runes int

	words map[string]*int
	word  []byte // the one under way, in lower case
}

// read counts all of r, a buffer at a time.
func (c *counter) read(r io.Reader) error {
	buf := make([]byte, 256<<10)
	kept := 0 // bytes of a rune that the last read cut
	for {
		n, err := r.Read(buf[kept:])
		n += kept
		rest := c.add(buf[:n], err != nil)
		kept = copy(buf, rest)
		if err == io.EOF {
			c.endWord()
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// add counts text and returns what is left of it: the beginning of a rune
// whose end has not come yet.
func (c *counter) add(text []byte, last bool) (rest []byte) {
	for i := 0; i < len(text); {
		if b := text[i]; b < utf8.RuneSelf {
			c.addASCII(b)
			i++
			continue
		}
		if !last && !utf8.FullRune(text[i:]) {
			return text[i:]
		}
		r, size := utf8.DecodeRune(text[i:])
		c.addRune(r, size)
		i += size
	}
	return nil
}

func (c *counter) addASCII(b byte) {
	c.bytes++
	c.runes++
	switch {
	case b >= 'a' && b <= 'z' || b >= '0' && b <= '9':
		c.grow(b)
	case b >= 'A' && b <= 'Z':
		c.grow(b + 'a' - 'A')
	default:
		if b == '\n' {
			c.lines++
		}
		c.endWord()
	}
}

func (c *counter) addRune(r rune, size int) {
	c.bytes += size
	c.runes++
	if !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) {
		c.endWord()
		return
	}
	var b [utf8.UTFMax]byte
	c.grow(b[:utf8.EncodeRune(b[:], unicode.ToLower(r))]...)
}

func (c *counter) grow(b ...byte) {
	if len(c.word) < maxWord {
		c.word = append(c.word, b...)
	}
}

func (c *counter) endWord() {
	if len(c.word) == 0 {
		return
	}
	c.total++
	n := c.words[string(c.word)] // does not allocate
	if n == nil {
		n = new(int)
		c.words[string(c.word)] = n
	}
	*n++
	c.word = c.word[:0]
}

func (c *counter) print(w io.Writer) {
	out := bufio.NewWriter(w)
	defer out.Flush()
	fmt.Fprintf(out, "%d lines\n%d words\n%d different words\n%d bytes\n%d runes\n",
		c.lines, c.total, len(c.words), c.bytes, c.runes)
	for _, word := range c.top(10) {
		fmt.Fprintf(out, "%10d  %s\n", *c.words[word], word)
	}
}

// top returns the n most frequent words; equally frequent ones in order.
func (c *counter) top(n int) []string {
	list := make([]string, 0, len(c.words))
	for word := range c.words {
		list = append(list, word)
	}
	slices.SortFunc(list, func(a, b string) int {
		return cmp.Or(cmp.Compare(*c.words[b], *c.words[a]), cmp.Compare(a, b))
	})
	return list[:min(n, len(list))]
}
