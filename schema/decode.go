package schema

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Decode reads a packet and checks all that the contract promises before anything is sent. raw must
// be valid UTF-8, at most [MaxPacket] bytes, and exactly one JSON object; no key may come twice in
// an object, not even in another letter case; strings hold no control characters but escaped tab
// and line breaks, and no lone surrogates; objects and arrays nest at most 32 deep. Fields must
// have the type the API gives them, required ones must be there, and their values must obey the
// rules of their type. Null in a field or an object that need not be there is the same as a missing
// one.
//
// The error is a [*FieldError] that names the field and the rule, and no value. The packet shares
// no memory with raw.
func Decode(raw []byte, limits Limits) (*Packet, error) {
	if len(raw) > MaxPacket {
		return nil, tooLarge(len(raw))
	}
	return decode(raw, limits)
}

// decode reads a packet that is at most MaxPacket bytes when it is written.
func decode(raw []byte, limits Limits) (*Packet, error) {
	if !utf8.Valid(raw) {
		return nil, &FieldError{Field: "packet", Rule: unclean(string(raw))}
	}
	d := decoder{scanner: scanner{s: string(raw)}, limits: limits.withDefaults()}
	p := new(Packet)
	err := d.packet(p)
	if err == nil {
		err = p.check(d.limits, false)
	}
	if err != nil {
		return nil, err.withDefaultField("packet")
	}
	// A packet is never written longer than it came, but for a wxcard that gets its msgtype and
	// music that gets its musicurl twice.
	if len(raw) > (MaxPacket-len(`"hqmusicurl":"",`))/2 {
		if n := len(Encode(p)); n > MaxPacket {
			return nil, tooLarge(n)
		}
	}
	return p, nil
}

func tooLarge(n int) *FieldError {
	return &FieldError{Field: "packet", Rule: fmt.Sprintf("%d bytes, at most %d", n, MaxPacket)}
}

// normalize returns a JSON value in normal form, as it would stand at the given depth of a packet.
func normalize(value []byte, depth int) ([]byte, *FieldError) {
	if !utf8.Valid(value) {
		return nil, &FieldError{Rule: unclean(string(value))}
	}
	s := scanner{s: string(value)}
	s.blank()
	normal, err := s.value(make([]byte, 0, len(value)), depth)
	if err != nil {
		return nil, err
	}
	if s.blank(); s.i < len(s.s) {
		return nil, s.broken("nothing may follow the value")
	}
	return normal, nil
}

// Indexes of the packet's own fields among the names of topLevel; the msgtypes follow.
const (
	atToUser = iota
	atMsgType
	atCustomService
	atAIMsgContext
	atTypes
)

// topLevel are the names that are known in a packet.
var topLevel = func() (names [atTypes + len(types)]string) {
	names[atToUser], names[atMsgType] = toUser, msgType
	names[atCustomService], names[atAIMsgContext] = customService, aiMsgContext
	for i, t := range types {
		names[atTypes+i] = t.name
	}
	return names
}()

func topLevelIndex(key string) int {
	for i := range topLevel {
		if topLevel[i] == key {
			return i
		}
	}
	return -1
}

// names are the known ones of a form, "" for each that it does not use.
func (f *form) names() (names [len(fields{})]string) {
	for i := range f.fields {
		names[i] = f.fields[i].name
	}
	return names
}

func (f *form) index(key string) int {
	for i := range f.fields {
		if f.fields[i].name == key && key != "" {
			return i
		}
	}
	return -1
}

// decoder reads a packet into its forms in one pass.
type decoder struct {
	scanner
	limits Limits
	// The values of all unknown fields, one after the other: one allocation for any number of them.
	values []byte
}

func (d *decoder) packet(p *Packet) *FieldError {
	if strings.HasPrefix(d.s, "\uFEFF") {
		return &FieldError{Rule: "begins with a byte order mark"}
	}
	d.blank()
	if err := d.open('{', "a JSON object", 1); err != nil {
		return err
	}
	var (
		met    uint32 // Of the names of topLevel.
		nulls  uint32 // Those of them whose value is null.
		kind   string
		others siblings
	)
	for first := true; ; first = false {
		key, more, err := d.member(first)
		if err != nil {
			return err
		}
		if !more {
			break
		}
		at := topLevelIndex(key)
		if at < 0 {
			if err := d.unknown(&p.Extra, key, &others, 1, topLevel[:]); err != nil {
				return err
			}
			continue
		}
		if met>>at&1 != 0 {
			return &FieldError{Rule: "duplicate key " + strconv.Quote(key)}
		}
		met |= 1 << at
		if at != atToUser && d.null() {
			nulls |= 1 << at
			continue
		}
		switch at {
		case atToUser:
			p.ToUser, err = d.str("a string")
		case atMsgType:
			kind, err = d.str("a string")
		case atCustomService:
			if from := new(CustomService); !d.skipNullObject(from.form()) {
				p.CustomService, err = from, d.fill(from.form(), 2)
			}
		case atAIMsgContext:
			if mark := new(AIMsgContext); !d.skipNullObject(mark.form()) {
				p.AIMsgContext, err = mark, d.fill(mark.form(), 2)
			}
		default:
			p.Body = types[at-atTypes].make()
			err = d.fill(p.Body.form(), 2)
		}
		if err != nil {
			return err.prefixed(key)
		}
	}
	if d.blank(); d.i < len(d.s) {
		return d.broken("nothing may follow the object")
	}
	if p.ToUser == "" && met>>atToUser&1 != 0 {
		return &FieldError{Field: toUser, Rule: "blank"}
	}
	return d.checkKind(kind, met&^nulls, nulls)
}

// checkKind tells whether the objects that a packet holds are the one that its msgtype asks for.
// met are the fields that have a value and nulls those that are null, as sets of indexes of
// topLevel.
func (d *decoder) checkKind(kind string, met, nulls uint32) *FieldError {
	const wxcard = "wxcard"
	objects := met >> atTypes
	if met>>atMsgType&1 == 0 {
		// The page's example of a card has no msgtype. Of other types that is a mistake: the page's
		// text requires it.
		switch {
		case objects == 1<<(topLevelIndex(wxcard)-atTypes):
			return nil
		case nulls>>atMsgType&1 != 0:
			return &FieldError{Field: msgType, Rule: "null, must be a string"}
		}
		return &FieldError{Field: msgType, Rule: "missing"}
	}
	want := topLevelIndex(kind) - atTypes
	if want < 0 {
		return &FieldError{Field: msgType, Rule: unknownType(kind, d.limits.Kind)}
	}
	for i := range types {
		if i != want && objects>>i&1 != 0 {
			return &FieldError{Field: types[i].name, Rule: "not allowed with msgtype " + kind}
		}
	}
	if nulls>>(atTypes+want)&1 != 0 {
		return &FieldError{Field: kind, Rule: "null, must be an object"}
	}
	if objects == 0 {
		return &FieldError{Field: kind, Rule: "missing"}
	}
	return nil
}

// unknownType shows the msgtype only when it looks like one: anything else may be a text or an
// openid that went into the wrong field.
func unknownType(kind string, app AppKind) string {
	if strings.TrimSpace(kind) == "" {
		return "blank"
	}
	shown := ""
	isOdd := func(r rune) bool { return r >= 0x80 || !isWord(byte(r)) }
	if len(kind) <= 20 && !strings.ContainsFunc(kind, isOdd) {
		shown = " " + strconv.Quote(kind)
	}
	return "unknown type" + shown + " (known: " + strings.Join(msgTypes(app), ", ") + ")"
}

// skipNullObject steps over an object whose only field is known and null: whoever writes
// {"kf_account":null} means no kfaccount.
func (d *decoder) skipNullObject(f form) bool {
	start := d.i
	if d.open('{', "an object", 2) == nil {
		key, more, err := d.member(true)
		if err == nil && more && key == f.fields[0].name && d.null() {
			if more, err = d.step(false, '}'); err == nil && !more {
				return true
			}
		}
	}
	d.i = start
	return false
}

// fill reads an object into its form. That a string is missing is found by check; a list and a flag
// have no value that says so.
func (d *decoder) fill(f form, depth int) *FieldError {
	if err := d.open('{', "an object", depth); err != nil {
		return err
	}
	var (
		met    fieldSet
		others siblings
	)
	for first := true; ; first = false {
		key, more, err := d.member(first)
		if err != nil {
			return err
		}
		if !more {
			break
		}
		at := f.index(key)
		if at < 0 {
			names := f.names()
			if err := d.unknown(f.extra, key, &others, depth, names[:]); err != nil {
				return err
			}
			continue
		}
		if met.has(at) {
			return &FieldError{Rule: "duplicate key " + strconv.Quote(key)}
		}
		met.add(at)
		field := &f.fields[at]
		if field.mayBeMissing(d.limits) && d.null() {
			continue
		}
		if err := d.field(field, depth+1); err != nil {
			return err.prefixed(key)
		}
		if field.str != nil && *field.str == "" {
			f.empty.add(at)
		}
	}
	for i := range f.fields {
		if field := &f.fields[i]; (field.flag != nil || field.list != nil) && !met.has(i) {
			return &FieldError{Field: field.name, Rule: "missing"}
		}
	}
	return nil
}

func (d *decoder) field(f *field, depth int) (err *FieldError) {
	c := d.peek()
	digit := c == '-' || '0' <= c && c <= '9'
	switch {
	case f.list != nil:
		return d.list(f.list, depth)
	case f.flag != nil:
		return d.flag(f.flag, digit)
	case f.number == nil:
		*f.str, err = d.str("a string")
	case digit:
		*f.number = true
		*f.str, err = d.number()
	default:
		*f.str, err = d.str("a string or a number")
	}
	return err
}

func (d *decoder) str(kind string) (string, *FieldError) {
	if err := d.want('"', kind); err != nil {
		return "", err
	}
	return d.text()
}

func (d *decoder) flag(flag *bool, digit bool) *FieldError {
	const kind = "0 or 1"
	if !digit {
		return d.want('0', kind)
	}
	digits, err := d.number()
	if err != nil {
		return err
	}
	if digits != "0" && digits != "1" {
		return &FieldError{Rule: "must be " + kind}
	}
	*flag = digits == "1"
	return nil
}

// list reads an array of objects. Entries beyond the limit are counted and not kept, and each entry
// is checked before the next is read: an array of ten thousand empty objects costs no memory.
func (d *decoder) list(l list, depth int) *FieldError {
	if err := d.open('[', "an array", depth); err != nil {
		return err
	}
	most, _ := l.most(d.limits)
	var skipped []byte
	n := 0
	for {
		more, err := d.step(n == 0, ']')
		if err != nil {
			return err
		}
		if !more {
			return countRule(l, n, d.limits)
		}
		if n < most {
			entry := l.add()
			if err = d.fill(entry, depth+1); err == nil {
				err = entry.check(d.limits, false, depth+1)
			}
		} else {
			skipped, err = d.value(skipped[:0], depth+1)
		}
		if err != nil {
			return err.prefixed(index(n))
		}
		n++
	}
}

// unknown reads a field that this package does not know. It may not be a known one in another
// letter case: the API would not see it.
func (d *decoder) unknown(
	extra *[]Member, key string, others *siblings, depth int, known []string,
) *FieldError {
	for _, name := range known {
		if name != "" && strings.EqualFold(key, name) {
			return &FieldError{Field: name, Rule: "must be spelled in lower case"}
		}
	}
	if rule := others.add(key); rule != "" {
		return d.fault(d.key, rule)
	}
	if d.values == nil {
		d.values = make([]byte, 0, len(d.s)-d.i)
	}
	start := len(d.values)
	var err *FieldError
	if d.values, err = d.value(d.values, depth+1); err != nil {
		return err
	}
	end := len(d.values)
	*extra = append(*extra, Member{Name: key, Value: d.values[start:end:end]})
	return nil
}
