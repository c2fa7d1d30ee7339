package sandbox

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// Values of the fields of [KFSettings].
const (
	KFErrorsNew       = "new"      // 654xx
	KFErrorsOld       = "old"      // 614xx
	NicknamesToday    = "today"    // at most 16 characters
	NicknamesDocument = "document" // at most 12 Latin characters; Chinese ones count as two
	DeleteAny         = "any"
	DeleteGet         = "get"
	DeletePost        = "post"
)

// kfLimit is how many accounts an app may have by today's page. The document says 10.
const kfLimit = 100

// KFSettings are how strict the account management is. The zero value is today's API.
type KFSettings struct {
	// Errors is which of the two families of errcodes is answered: "new" (or empty) or "old".
	Errors string `json:"errors,omitempty"`
	// Limit is how many accounts an app may have. 0 is 100.
	Limit int `json:"limit,omitempty"`
	// Nicknames is how long they may be: "today" (or empty), 16 characters, or "document", 12 Latin
	// or 6 Chinese ones.
	Nicknames string `json:"nicknames,omitempty"`
	// AvatarBytes is how large an avatar may be. 0 is no limit but that of every body, 1 MiB.
	AvatarBytes int `json:"avatar_bytes,omitempty"`

	// Delete is with which method an account is deleted: "any" (or empty), "get" or "post". The
	// sources do not agree.
	Delete string `json:"delete,omitempty"`
	// ImageSpace puts a blank in front of image URLs, as the document prints them.
	ImageSpace bool `json:"image_space,omitempty"`
	// RawQuery leaves %40 in the query's kf_account as it stands, so that only a literal @ is
	// understood.
	RawQuery bool `json:"raw_query,omitempty"`
}

func (k *KFSettings) check() error {
	if k.Limit < 0 || k.AvatarBytes < 0 {
		return errors.New("limit, avatar_bytes: below zero")
	}
	return errors.Join(
		oneOf("errors", k.Errors, "", KFErrorsNew, KFErrorsOld),
		oneOf("nicknames", k.Nicknames, "", NicknamesToday, NicknamesDocument),
		oneOf("delete", k.Delete, "", DeleteAny, DeleteGet, DeletePost),
	)
}

// prefixCharacters are those of a prefix; the underscore came later than the document.
const prefixCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"

// kfFault is what can be wrong with a call of the account management, with its errcode in both
// families.
type kfFault struct{ old, new int }

// What can be wrong. 0 in both is nothing.
var (
	kfBadAccount   = kfFault{61452, 65404}
	kfLongPrefix   = kfFault{61454, 65404}
	kfBadCharacter = kfFault{61455, 65404}
	kfBadNickname  = kfFault{61451, 65403}
	kfBadPassword  = kfFault{61451, 40035}
	kfUnknown      = kfFault{61452, 65401}
	kfExists       = kfFault{61453, 65406}
	kfTooMany      = kfFault{61456, 65405}
	kfNoJPEG       = kfFault{61457, 40137}
	kfLargeAvatar  = kfFault{40009, 40009}
)

// code returns the fault's errcode, 0 for none.
func (k *KFSettings) code(f kfFault) int {
	if k.Errors == KFErrorsOld {
		return f.old
	}
	return f.new
}

func (k *KFSettings) limit() int {
	if k.Limit > 0 {
		return k.Limit
	}
	return kfLimit
}

// checkKFAccount is about a whole kf_account: a prefix of at most 10 letters, digits and
// underscores, @, and the app's WeChat id.
func checkKFAccount(account string) kfFault {
	prefix, suffix, found := strings.Cut(account, "@")
	switch {
	case !found, prefix == "", suffix == "", len(suffix) > 30, strings.ContainsAny(suffix, "@ "):
		return kfBadAccount
	case utf8.RuneCountInString(prefix) > 10:
		return kfLongPrefix
	case strings.Trim(prefix, prefixCharacters) != "":
		return kfBadCharacter
	}
	return kfFault{}
}

func (k *KFSettings) checkNickname(name string) kfFault {
	most, length := 16, 0
	if k.Nicknames == NicknamesDocument {
		most = 12
	}
	for _, r := range name {
		length++
		if k.Nicknames == NicknamesDocument && r >= utf8.RuneSelf {
			length++
		}
	}
	if length == 0 || length > most {
		return kfBadNickname
	}
	return kfFault{}
}

// checkKFPassword is about the MD5 of a password in hexadecimal, which may be left out.
func checkKFPassword(md5 string) kfFault {
	if md5 == "" || len(md5) == 32 && strings.Trim(md5, "0123456789abcdefABCDEF") == "" {
		return kfFault{}
	}
	return kfBadPassword
}
