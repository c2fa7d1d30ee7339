package schema

import (
	"bytes"
	"math"
	"unicode/utf8"
)

// The JSON of a packet and of each object in it is the API's, in both directions. encoding/json
// would otherwise write the names of Go's fields, and read a packet without its message.

// widest are limits that no app's go beyond: what holds for one app is not known here.
var widest = Limits{
	NewsArticles: math.MaxInt, TextBytes: MaxPacket,
	VideoThumb: PresenceOptional, Kind: KindMiniProgram,
}

// MarshalJSON returns the packet in the API's form, as [Encode] does, or why it is none, as
// [Packet.Check] does with the widest limits. [encoding/json.Marshal] escapes <, > and & in it,
// which an [encoding/json.Encoder] can be told not to; they mean the same. For the API use Encode.
func (p Packet) MarshalJSON() ([]byte, error) {
	if err := p.Check(widest); err != nil {
		return nil, err
	}
	return Encode(&p), nil
}

// UnmarshalJSON reads a packet as strictly as [Decode] does, with the widest limits: those of an
// app are for [Packet.Check]. JSON null changes nothing.
func (p *Packet) UnmarshalJSON(raw []byte) error {
	if isNull(raw) {
		return nil
	}
	// Not its size as it came: escapes are longer than what they mean.
	read, err := decode(raw, widest)
	if err != nil {
		return err
	}
	*p = *read
	return nil
}

func isNull(raw []byte) bool { return string(bytes.TrimSpace(raw)) == "null" }

// object is a pointer to one of the objects in a packet.
type object[T any] interface {
	*T
	form() form
}

// marshalObject writes an object as it stands in a packet.
func marshalObject(f form) ([]byte, error) {
	if err := f.check(widest, true, 2); err != nil {
		return nil, err.withDefaultField("object")
	}
	return f.append(nil), nil
}

// unmarshalObject reads an object as it stands in a packet.
func unmarshalObject[T any, P object[T]](raw []byte, to P) error {
	if isNull(raw) {
		return nil
	}
	if !utf8.Valid(raw) {
		return &FieldError{Field: "object", Rule: unclean(string(raw))}
	}
	var (
		read T
		d    = decoder{scanner: scanner{s: string(raw)}, limits: widest}
		f    = P(&read).form()
	)
	d.blank()
	err := d.fill(f, 2)
	if d.blank(); err == nil && d.i < len(d.s) {
		err = d.broken("nothing may follow the object")
	}
	if err == nil {
		err = f.check(widest, false, 2)
	}
	if err != nil {
		return err.withDefaultField("object")
	}
	*to = read
	return nil
}

// MarshalJSON returns the object as it stands in a packet, see [Packet.MarshalJSON].
func (t Text) MarshalJSON() ([]byte, error) { return marshalObject(t.form()) }

// UnmarshalJSON reads the object as it stands in a packet, see [Packet.UnmarshalJSON].
func (t *Text) UnmarshalJSON(raw []byte) error { return unmarshalObject(raw, t) }

// MarshalJSON returns the object as it stands in a packet, see [Packet.MarshalJSON].
func (m Image) MarshalJSON() ([]byte, error) { return marshalObject(m.form()) }

// UnmarshalJSON reads the object as it stands in a packet, see [Packet.UnmarshalJSON].
func (m *Image) UnmarshalJSON(raw []byte) error { return unmarshalObject(raw, m) }

// MarshalJSON returns the object as it stands in a packet, see [Packet.MarshalJSON].
func (m Voice) MarshalJSON() ([]byte, error) { return marshalObject(m.form()) }

// UnmarshalJSON reads the object as it stands in a packet, see [Packet.UnmarshalJSON].
func (m *Voice) UnmarshalJSON(raw []byte) error { return unmarshalObject(raw, m) }

// MarshalJSON returns the object as it stands in a packet, see [Packet.MarshalJSON].
func (m Video) MarshalJSON() ([]byte, error) { return marshalObject(m.form()) }

// UnmarshalJSON reads the object as it stands in a packet, see [Packet.UnmarshalJSON].
func (m *Video) UnmarshalJSON(raw []byte) error { return unmarshalObject(raw, m) }

// MarshalJSON returns the object as it stands in a packet, see [Packet.MarshalJSON].
func (m Music) MarshalJSON() ([]byte, error) { return marshalObject(m.form()) }

// UnmarshalJSON reads the object as it stands in a packet, see [Packet.UnmarshalJSON].
func (m *Music) UnmarshalJSON(raw []byte) error { return unmarshalObject(raw, m) }

// MarshalJSON returns the object as it stands in a packet, see [Packet.MarshalJSON].
func (m News) MarshalJSON() ([]byte, error) { return marshalObject(m.form()) }

// UnmarshalJSON reads the object as it stands in a packet, see [Packet.UnmarshalJSON].
func (m *News) UnmarshalJSON(raw []byte) error { return unmarshalObject(raw, m) }

// MarshalJSON returns the object as it stands in a packet, see [Packet.MarshalJSON].
func (a Article) MarshalJSON() ([]byte, error) { return marshalObject(a.form()) }

// UnmarshalJSON reads the object as it stands in a packet, see [Packet.UnmarshalJSON].
func (a *Article) UnmarshalJSON(raw []byte) error { return unmarshalObject(raw, a) }

// MarshalJSON returns the object as it stands in a packet, see [Packet.MarshalJSON].
func (m WxCard) MarshalJSON() ([]byte, error) { return marshalObject(m.form()) }

// UnmarshalJSON reads the object as it stands in a packet, see [Packet.UnmarshalJSON].
func (m *WxCard) UnmarshalJSON(raw []byte) error { return unmarshalObject(raw, m) }

// MarshalJSON returns the object as it stands in a packet, see [Packet.MarshalJSON].
func (m MPNews) MarshalJSON() ([]byte, error) { return marshalObject(m.form()) }

// UnmarshalJSON reads the object as it stands in a packet, see [Packet.UnmarshalJSON].
func (m *MPNews) UnmarshalJSON(raw []byte) error { return unmarshalObject(raw, m) }

// MarshalJSON returns the object as it stands in a packet, see [Packet.MarshalJSON].
func (m MPNewsArticle) MarshalJSON() ([]byte, error) { return marshalObject(m.form()) }

// UnmarshalJSON reads the object as it stands in a packet, see [Packet.UnmarshalJSON].
func (m *MPNewsArticle) UnmarshalJSON(raw []byte) error { return unmarshalObject(raw, m) }

// MarshalJSON returns the object as it stands in a packet, see [Packet.MarshalJSON].
func (m MsgMenu) MarshalJSON() ([]byte, error) { return marshalObject(m.form()) }

// UnmarshalJSON reads the object as it stands in a packet, see [Packet.UnmarshalJSON].
func (m *MsgMenu) UnmarshalJSON(raw []byte) error { return unmarshalObject(raw, m) }

// MarshalJSON returns the object as it stands in a packet, see [Packet.MarshalJSON].
func (m MenuItem) MarshalJSON() ([]byte, error) { return marshalObject(m.form()) }

// UnmarshalJSON reads the object as it stands in a packet, see [Packet.UnmarshalJSON].
func (m *MenuItem) UnmarshalJSON(raw []byte) error { return unmarshalObject(raw, m) }

// MarshalJSON returns the object as it stands in a packet, see [Packet.MarshalJSON].
func (m MiniProgramPage) MarshalJSON() ([]byte, error) { return marshalObject(m.form()) }

// UnmarshalJSON reads the object as it stands in a packet, see [Packet.UnmarshalJSON].
func (m *MiniProgramPage) UnmarshalJSON(raw []byte) error { return unmarshalObject(raw, m) }

// MarshalJSON returns the object as it stands in a packet, see [Packet.MarshalJSON].
func (m Link) MarshalJSON() ([]byte, error) { return marshalObject(m.form()) }

// UnmarshalJSON reads the object as it stands in a packet, see [Packet.UnmarshalJSON].
func (m *Link) UnmarshalJSON(raw []byte) error { return unmarshalObject(raw, m) }

// MarshalJSON returns the object as it stands in a packet, see [Packet.MarshalJSON].
func (m CustomService) MarshalJSON() ([]byte, error) { return marshalObject(m.form()) }

// UnmarshalJSON reads the object as it stands in a packet, see [Packet.UnmarshalJSON].
func (m *CustomService) UnmarshalJSON(raw []byte) error { return unmarshalObject(raw, m) }

// MarshalJSON returns the object as it stands in a packet, see [Packet.MarshalJSON].
func (m AIMsgContext) MarshalJSON() ([]byte, error) { return marshalObject(m.form()) }

// UnmarshalJSON reads the object as it stands in a packet, see [Packet.UnmarshalJSON].
func (m *AIMsgContext) UnmarshalJSON(raw []byte) error { return unmarshalObject(raw, m) }
