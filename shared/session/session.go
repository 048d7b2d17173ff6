// Package session seals and opens the refresh token that a page holds.
//
// IMM's own refresh token is a bearer right that renews itself for ever and knows nothing of
// callers. A page therefore gets a sealed one: everything a refresh needs to decide anew,
// encrypted, so that the functions keep no state and any instance can answer.
//
// Promises: whoever lacks a session key can neither read, change nor make a token; a token opens
// only for the purpose, project and region it was sealed for; every failure to open looks the same.
// What it does not promise: a token can be opened any number of times until its end, and whether it
// belongs to whoever sends it is for the caller of Open to check (Session.BelongsTo).
//
// Form: base64url of version (1 byte), key id (4), salt (16), AES-256-GCM of a JSON text. The key
// of each token is derived by HKDF-SHA256 from the session key and the salt, so that the nonce can
// be constant and no number of tokens wears a key out.
package session

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"weboffice-functions/shared/weboffice"
)

// KeySize is the length of a session key in bytes.
const KeySize = 32

// MaxToken is the longest sealed token that Open looks at, in characters. It has room for the
// longest request that Validate accepts, and fits into a refresh body beside the access token. An
// ordinary token has less than 2,000.
const MaxToken = 60 << 10

const (
	version   = 1
	keyIDSize = 4
	saltSize  = 16
	header    = 1 + keyIDSize + saltSize
	purpose   = "weboffice-functions refresh token"
)

// Session is what a sealed token holds.
type Session struct {
	RefreshToken   weboffice.Secret // IMM's
	WebofficeURL   string
	Issuer         string            // of the caller
	Subject        string            // of the caller; for a share link without one, its jti
	Start          time.Time         // the first generate
	Asked          weboffice.Request // what the caller asked, not what was decided
	Guest          weboffice.User    // the User of a guest; zero for others
	Issued         time.Time         // when IMM answered, by our clock
	AccessExpires  time.Time         // by IMM's clock
	RefreshExpires time.Time         // by IMM's clock
	Life           time.Duration     // how long the access token lived at Issued, by IMM's clock
	Access         [32]byte          // SHA-256 of the access token
	Decision       [32]byte          // digest of what was decided
}

// BelongsTo says whether the token was sealed for this caller and for this access token.
func (s Session) BelongsTo(issuer, subject string, access weboffice.Secret) bool {
	sum := HashAccess(access)
	return subtle.ConstantTimeCompare([]byte(s.Issuer+"\x00"+s.Subject),
		[]byte(issuer+"\x00"+subject)) == 1 &&
		subtle.ConstantTimeCompare(s.Access[:], sum[:]) == 1
}

// HashAccess is the hash by which a session knows its access token.
func HashAccess(access weboffice.Secret) [32]byte { return sha256.Sum256([]byte(access.Reveal())) }

// sealed is the JSON text inside a token, with short names since a page carries it. A field is
// never given another meaning: the next version opens the tokens of this one.
type sealed struct {
	Refresh  string            `json:"r"`
	URL      string            `json:"u"`
	Issuer   string            `json:"i,omitempty"`
	Subject  string            `json:"s,omitempty"`
	Start    int64             `json:"b"` // ms
	Asked    weboffice.Request `json:"q"`
	Password string            `json:"p,omitempty"`
	GuestID  string            `json:"g,omitempty"`
	Issued   int64             `json:"t"` // ms
	AccessX  time.Time         `json:"x"`
	RefreshX time.Time         `json:"y"`
	Life     int64             `json:"l"` // ms
	Access   []byte            `json:"a"`
	Decision []byte            `json:"d"`
}

// Sealer seals with the first of its keys and opens with all. It is safe for concurrent use.
type Sealer struct {
	keys  [][]byte
	ids   [][keyIDSize]byte
	scope string
}

// NewSealer binds a Sealer to one project and region. Keys have KeySize bytes; whether they are
// good ones is the configuration's to check.
func NewSealer(keys [][]byte, project, region string) (*Sealer, error) {
	if len(keys) == 0 {
		return nil, errors.New("a session key is required")
	}
	s := &Sealer{keys: keys, scope: "\x00" + project + "\x00" + region}
	for _, key := range keys {
		if len(key) != KeySize {
			return nil, errors.New("a session key has 32 bytes")
		}
		sum := sha256.Sum256(append([]byte(purpose+" key id\x00"), key...))
		s.ids = append(s.ids, [keyIDSize]byte(sum[:keyIDSize]))
	}
	return s, nil
}

// Seal returns the token of a session.
func (s *Sealer) Seal(session Session) (weboffice.Secret, error) {
	var text bytes.Buffer
	text.Grow(1 << 10) // an ordinary one
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false) // a WebofficeURL has &, which would take six characters
	err := encoder.Encode(sealed{
		Refresh: session.RefreshToken.Reveal(), URL: session.WebofficeURL, Issuer: session.Issuer,
		Subject: session.Subject,
		Start:   session.Start.UnixMilli(), Asked: session.Asked,
		Password: session.Asked.Password.Reveal(), GuestID: session.Guest.Id,
		Issued: session.Issued.UnixMilli(), AccessX: session.AccessExpires,
		RefreshX: session.RefreshExpires,
		Life:     session.Life.Milliseconds(), Access: session.Access[:],
		Decision: session.Decision[:],
	})
	if err != nil {
		return "", err
	}
	token := make([]byte, header, header+text.Len()+16)
	token[0] = version
	copy(token[1:], s.ids[0][:])
	_, _ = rand.Read(token[1+keyIDSize : header]) // never fails
	aead, err := s.aead(s.keys[0], token[:header])
	if err != nil {
		return "", err
	}
	token = aead.Seal(token, make([]byte, aead.NonceSize()), text.Bytes(), s.bound(token[:header]))
	return weboffice.Secret(base64.RawURLEncoding.EncodeToString(token)), nil
}

// Open returns the session of a token. The error is always that of Refused, whatever is wrong.
func (s *Sealer) Open(token weboffice.Secret) (Session, error) {
	var session Session
	// which the decoder would skip: a token has one spelling
	if len(token) > MaxToken || strings.ContainsAny(token.Reveal(), "\r\n") {
		return session, Refused()
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token.Reveal())
	if err != nil || len(raw) < header || raw[0] != version {
		return session, Refused()
	}
	for i, key := range s.keys {
		if s.ids[i] != [keyIDSize]byte(raw[1:1+keyIDSize]) {
			continue
		}
		aead, err := s.aead(key, raw[:header])
		if err != nil {
			return session, err
		}
		text, err := aead.Open(nil, make([]byte, aead.NonceSize()), raw[header:],
			s.bound(raw[:header]))
		if err != nil {
			continue // two keys may share an id
		}
		var in sealed
		if err := json.Unmarshal(text, &in); err != nil || len(in.Access) != len(session.Access) ||
			len(in.Decision) != len(session.Decision) {
			return session, Refused()
		}
		in.Asked.Password = weboffice.Secret(in.Password)
		session = Session{
			RefreshToken: weboffice.Secret(in.Refresh), WebofficeURL: in.URL, Issuer: in.Issuer,
			Subject: in.Subject,
			Start:   time.UnixMilli(in.Start), Asked: in.Asked, Issued: time.UnixMilli(in.Issued),
			AccessExpires: in.AccessX, RefreshExpires: in.RefreshX,
			Life:   time.Duration(in.Life) * time.Millisecond,
			Access: [32]byte(in.Access), Decision: [32]byte(in.Decision),
		}
		if in.GuestID != "" {
			session.Guest = weboffice.NewGuest()
			session.Guest.Id = in.GuestID
		}
		return session, nil
	}
	return session, Refused()
}

func (s *Sealer) aead(key, head []byte) (cipher.AEAD, error) {
	derived, err := hkdf.Key(sha256.New, key, head[1+keyIDSize:], purpose, KeySize)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// bound is the text that a token is bound to besides what it holds.
func (s *Sealer) bound(head []byte) []byte {
	return []byte(purpose + s.scope + "\x00" + string(head))
}

// Refused is the one error for every token that gives no right: forged, cut, of another deployment,
// and just so one that was sealed for another caller or access token. A page then generates once.
func Refused() *weboffice.Error {
	return &weboffice.Error{
		Kind: weboffice.Invalid, Code: "InvalidArgument.RefreshToken",
		Message:   "RefreshToken is not one that these functions gave for this AccessToken and caller.",
		Recommend: "Call generate once.",
	}
}
