package schema

import (
	"encoding/json"
	"reflect"
)

// MaxPacket is the largest packet in bytes (64 KiB), as it is published and as it is sent.
const MaxPacket = 64 << 10

// Names of the packet's own fields.
const (
	toUser        = "touser"
	msgType       = "msgtype"
	customService = "customservice"
	aiMsgContext  = "aimsgcontext"
)

// Packet is the JSON data packet of the API's customer-service message page: one message to one
// user.
//
//	{
//		"touser": "OPENID",
//		"msgtype": "text",
//		"text": {"content": "Hello World"},
//		"customservice": {"kf_account": "test1@kftest"}
//	}
type Packet struct {
	// ToUser is the recipient's openid, 1 to 128 of A-Z a-z 0-9 _ -. The API answers 40003 to one
	// that is no follower of the app.
	ToUser string

	// Body is the message. Its type is the packet's msgtype.
	Body Body

	CustomService *CustomService // Which kfaccount it comes from; nil: from the app itself.
	AIMsgContext  *AIMsgContext  // Whether an AI made it; nil: nothing is said about it.

	// Extra are fields this package does not know, in their order. They are sent as they came.
	Extra []Member
}

// Member is an unknown field of an object and its value.
type Member struct {
	Name string `json:"name"`

	// Value is JSON in normal form: no white space, strings as raw UTF-8 with no escapes but \" \\
	// \n \r \t, numbers digit for digit as they were published. [NewMember] makes that of any JSON.
	Value json.RawMessage `json:"value"`
}

// NewMember returns an unknown field with value, which is any JSON that a packet may hold, in
// normal form. The error is a [*FieldError] for "value".
func NewMember(name string, value []byte) (Member, error) {
	normal, err := normalize(value, 2)
	if err != nil {
		return Member{}, err.prefixed("value")
	}
	return Member{Name: name, Value: normal}, nil
}

// Append appends the packet to dst as it goes to the API: compact JSON, raw UTF-8 throughout, of
// escapes only \" \\ \n \r \t. The API shows \u escapes to users or refuses them (47002, 40033), so
// not even <, > and U+2028 are escaped. Known fields come first, in the order of the contract;
// optional ones that are empty are left out, unless they were published as "", and music without an
// hqmusicurl gets its musicurl for one.
//
// It allocates nothing when dst has room. The packet must have passed [Decode] or [Packet.Check].
func (p *Packet) Append(dst []byte) []byte {
	dst = append(dst, `{"touser":`...)
	dst = appendString(dst, p.ToUser)
	if p.hasBody() {
		name := p.Body.MsgType()
		dst = append(dst, `,"msgtype":"`...)
		dst = append(dst, name...)
		dst = append(dst, '"')
		dst = p.Body.form().append(appendKey(dst, name))
	}
	if p.CustomService != nil {
		dst = p.CustomService.form().append(appendKey(dst, customService))
	}
	if p.AIMsgContext != nil {
		dst = p.AIMsgContext.form().append(appendKey(dst, aiMsgContext))
	}
	dst = appendMembers(dst, p.Extra)
	return append(dst, '}')
}

// hasBody tells whether there is a message. A nil pointer in Body is none.
func (p *Packet) hasBody() bool {
	if p.Body == nil {
		return false
	}
	v := reflect.ValueOf(p.Body)
	return v.Kind() != reflect.Pointer || !v.IsNil()
}

// Encode returns the packet as it goes to the API, see [Packet.Append].
func Encode(p *Packet) []byte { return p.Append(nil) }

// append writes the object. It takes the form by value: through a pointer, the recursion for lists
// would move each form to the heap.
func (f form) append(dst []byte) []byte {
	dst = append(dst, '{')
	for i := range f.fields {
		field := &f.fields[i]
		switch {
		case field.str != nil:
			value := *field.str
			if value == "" && field.fallback != nil {
				value = *field.fallback
			}
			if value == "" && (field.rule == nil || field.optional != nil) && !f.empty.has(i) {
				continue
			}
			dst = appendKey(dst, field.name)
			if field.number != nil && *field.number && isNumber(value) {
				dst = append(dst, value...)
			} else {
				dst = appendString(dst, value)
			}
		case field.list != nil:
			dst = append(appendKey(dst, field.name), '[')
			for n := range field.list.len() {
				if n > 0 {
					dst = append(dst, ',')
				}
				dst = field.list.at(n).append(dst)
			}
			dst = append(dst, ']')
		case field.flag != nil:
			digit := byte('0')
			if *field.flag {
				digit = '1'
			}
			dst = append(appendKey(dst, field.name), digit)
		}
	}
	return append(appendMembers(dst, *f.extra), '}')
}

func appendMembers(dst []byte, members []Member) []byte {
	for i := range members {
		dst = appendString(appendComma(dst), members[i].Name)
		dst = append(dst, ':')
		dst = append(dst, members[i].Value...)
	}
	return dst
}

// appendKey appends a known name, which needs no escapes.
func appendKey(dst []byte, name string) []byte {
	dst = append(appendComma(dst), '"')
	dst = append(dst, name...)
	return append(dst, '"', ':')
}

// appendComma appends a comma unless the object has only been opened.
func appendComma(dst []byte) []byte {
	if dst[len(dst)-1] == '{' {
		return dst
	}
	return append(dst, ',')
}

func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[start:i]...)
		start = i + 1
		switch c {
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		case '"', '\\':
			dst = append(dst, '\\', c)
		default: // Not in a packet that was checked; whatever is, the output stays JSON.
			const hex = "0123456789abcdef"
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}
