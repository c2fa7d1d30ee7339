package bench

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/kefuhq/kefu/schema"
)

// mark is what an intent says of itself in its text, so that the sandbox's record alone tells which
// it was and when it was published.
type mark struct {
	kind kind
	lane schema.Lane
	n    int   // its number among all of the run
	at   int64 // when it was published, in Unix nanoseconds
}

// kind is which part of the load an intent belongs to.
type kind string

const (
	backlog  kind = "backlog"  // waited before the start
	offered  kind = "offered"  // published at the rate, to a healthy app
	troubled kind = "troubled" // to one that is slow, failing or held
	warmup   kind = "warmup"   // published before all that is measured
)

// markPrefix begins every mark. The waiting for a kind in the sandbox rests on the kind standing
// right behind it.
const markPrefix = "kefu-bench "

func (k kind) prefix() string { return markPrefix + string(k) + " " }

// packet returns the intent's packet, some 200 bytes as a short notice has.
func (m mark) packet(toUser string) []byte {
	return fmt.Appendf(nil,
		`{"touser":%q,"msgtype":"text","text":`+
			`{"content":"您好，您的订单已发货，点击查看物流。 %s%s %d %d ."}}`,
		toUser, m.kind.prefix(), m.lane, m.n, m.at)
}

// readMark finds the mark in a packet.
func readMark(packet string) (mark, bool) {
	_, rest, found := strings.Cut(packet, markPrefix)
	if !found {
		return mark{}, false
	}
	part := strings.SplitN(rest, " ", 5)
	if len(part) < 5 {
		return mark{}, false
	}
	n, err := strconv.Atoi(part[2])
	at, err2 := strconv.ParseInt(part[3], 10, 64)
	return mark{kind(part[0]), schema.Lane(part[1]), n, at}, err == nil && err2 == nil && n >= 0
}
