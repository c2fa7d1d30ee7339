package main

import (
	"strings"
	"testing"
)

func TestSendReadsThePacketFromAPipe(t *testing.T) {
	t.Parallel()
	packet := packetFor(recipient)
	piped := func(text string) func(*try) { return func(c *try) { c.stdin = text } }
	for name, row := range map[string]struct {
		line   string
		change func(*try)
		says   string // empty: it is accepted
	}{
		"nothing but a pipe":              {"send --app wx1", piped(packet + "\n"), ""},
		"the flag still names it":         {"send --app wx1 --packet -", piped(packet), ""},
		"other flags do not matter":       {"send --app wx1 --id order-1 --expires-in 1h", piped(packet), ""},
		"flags for a text leave it alone": {"send --app wx1 --to " + recipient + " --text hi", piped("not a packet"), ""},
		"half of a text is a mistake":     {"send --app wx1 --to " + recipient, piped(packet), "what to send? give --to and --text, or --packet"},
		"an empty flag is a mistake":      {"send --app wx1 --text= --to=", piped(packet), " is empty: is a variable not set?"},
		"an empty pipe":                   {"send --app wx1", piped(" \n"), "standard input is empty"},
		"no packet in the pipe":           {"send --app wx1", piped("hello"), "kefu: "},
		"a terminal is not waited for":    {"send --app wx1", answering(packet), "what to send? give --to and --text, or --packet"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOperation(t)
			got := o.kefu(row.line, row.change)
			if row.says != "" {
				o.Equal(exitUsage, got.code)
				o.Contains(got.err, row.says)
				o.Empty(o.queued("wx1"))
				return
			}
			o.Equal(exitDone, got.code, got.err)
			queued := o.queued("wx1")
			o.Len(queued, 1)
			if !strings.Contains(row.line, "--text") {
				o.Equal(packet, strings.TrimSpace(string(queued[0].Data)))
			}
		})
	}
}
