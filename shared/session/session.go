// Package session seals and opens the refresh token that a page holds.
//
// IMM's own refresh token is a bearer right that renews itself for ever and knows nothing of
// callers. A page therefore gets a sealed one: everything a refresh needs to decide anew,
// encrypted, so that the functions keep no state and any instance can answer.
//
// Promises: whoever lacks a session key can neither read, change nor make a token; a token opens
// only for the purpose, project and region it was sealed for; every failure to open looks the same.
// What it does not promise: a token can be opened any number of times until its end, and whether it
// belongs to whoever sends it is for the caller of Open to check (Session.BelongsTo). That it came
// with its access token, Open checks.
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
	"strconv"
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

// Session is what a sealed token stands for.
type Session struct {
	ID               string            // of the open document: NewID when it is opened, then kept
	weboffice.Access                   // Life as it was at Issued
	RefreshToken     weboffice.Secret  // IMM's; it never leaves the function
	Issuer           string            // of the caller
	Subject          string            // of the caller; for a share link without one, its jti
	Start            time.Time         // the first generate
	Issued           time.Time         // when IMM answered, by our clock
	Asked            weboffice.Request // what the caller asked, not what was decided
	Guest            weboffice.User    // the User of a guest; zero for others
	Decision         [32]byte          // digest of what was decided
}

// NewID returns the ID of a document that is opened now.
func NewID() string { return rand.Text()[:16] }

// BelongsTo says whether the token was sealed for this caller.
func (s Session) BelongsTo(issuer, subject string) bool {
	return subtle.ConstantTimeCompare([]byte(s.Issuer+"\x00"+s.Subject),
		[]byte(issuer+"\x00"+subject)) == 1
}

// Sealed is a sealed token: the only refresh token that a page may see. Only Seal and Open make
// one, so that IMM's own refresh token, a weboffice.Secret, cannot take its place. It prints as a
// Secret does, and Reveal gives the text.
type Sealed struct{ secret }

type secret = weboffice.Secret

// payload is the JSON text inside a token, with short names since a page carries it. A field is
// never given another meaning: the next version opens the tokens of this one.
type payload struct {
	ID         string            `json:"n,omitempty"`
	Refresh    string            `json:"r"`
	URL        string            `json:"u"`
	Issuer     string            `json:"i,omitempty"`
	Subject    string            `json:"s,omitempty"`
	Start      int64             `json:"b"` // ms
	Asked      weboffice.Request `json:"q"`
	Password   string            `json:"p,omitempty"`
	GuestID    string            `json:"g,omitempty"`
	Issued     int64             `json:"t"` // ms
	AccessEnd  string            `json:"x"` // RFC 3339
	RefreshEnd string            `json:"y"` // RFC 3339
	Life       int64             `json:"l"` // ms
	AccessHash []byte            `json:"a"` // SHA-256 of the access token
	Decision   []byte            `json:"d"`
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
func (s *Sealer) Seal(session Session) (Sealed, error) {
	head := make([]byte, header, 1<<10) // an ordinary token grows into it
	head[0] = version
	copy(head[1:], s.ids[0][:])
	_, _ = rand.Read(head[1+keyIDSize:]) // never fails
	aead, err := s.aead(s.keys[0], head)
	if err != nil {
		return Sealed{}, err
	}
	token := bytes.NewBuffer(head)
	encoder := json.NewEncoder(token)
	encoder.SetEscapeHTML(false) // a WebofficeURL has &, which would take six characters
	if err := encoder.Encode(payloadOf(session)); err != nil {
		return Sealed{}, err
	}
	text := token.Bytes()[header:]
	sealed := aead.Seal(token.Bytes()[:header], make([]byte, aead.NonceSize()), text, s.bound(head))
	return Sealed{weboffice.Secret(base64.RawURLEncoding.EncodeToString(sealed))}, nil
}

func payloadOf(s Session) payload {
	accessHash := sha256.Sum256([]byte(s.AccessToken.Reveal()))
	return payload{
		ID:         s.ID,
		Refresh:    s.RefreshToken.Reveal(),
		URL:        s.WebofficeURL,
		Issuer:     s.Issuer,
		Subject:    s.Subject,
		Start:      s.Start.UnixMilli(),
		Asked:      s.Asked,
		Password:   s.Asked.Password.Reveal(),
		GuestID:    s.Guest.Id,
		Issued:     s.Issued.UnixMilli(),
		AccessEnd:  s.AccessTokenExpiredTime.Format(time.RFC3339Nano),
		RefreshEnd: s.RefreshTokenExpiredTime.Format(time.RFC3339Nano),
		Life:       s.Life.Milliseconds(),
		AccessHash: accessHash[:],
		Decision:   s.Decision[:],
	}
}

// Open returns the session of a sealed token, presented with its access token, and the token
// itself as Sealed. The error is always ErrRefreshToken, the same for every token that grants
// nothing: forged, truncated, from another deployment, or sealed for another access token.
func (s *Sealer) Open(presented weboffice.RefreshRequest) (Session, Sealed, error) {
	text, ok := s.decrypt(presented.RefreshToken.Reveal())
	if !ok {
		return Session{}, Sealed{}, weboffice.ErrRefreshToken.New()
	}
	accessHash := sha256.Sum256([]byte(presented.AccessToken.Reveal()))
	var in payload
	err := json.Unmarshal(text, &in)
	accessEnd, noEnd := time.Parse(time.RFC3339Nano, in.AccessEnd)
	refreshEnd, noRefreshEnd := time.Parse(time.RFC3339Nano, in.RefreshEnd)
	if errors.Join(err, noEnd, noRefreshEnd) != nil || len(in.Decision) != sha256.Size ||
		subtle.ConstantTimeCompare(in.AccessHash, accessHash[:]) != 1 {
		return Session{}, Sealed{}, weboffice.ErrRefreshToken.New()
	}
	session := Session{
		ID: in.ID,
		Access: weboffice.Access{
			WebofficeURL:            in.URL,
			AccessToken:             presented.AccessToken,
			AccessTokenExpiredTime:  accessEnd,
			RefreshTokenExpiredTime: refreshEnd,
			Life:                    time.Duration(in.Life) * time.Millisecond,
		},
		RefreshToken: weboffice.Secret(in.Refresh),
		Issuer:       in.Issuer,
		Subject:      in.Subject,
		Start:        time.UnixMilli(in.Start),
		Issued:       time.UnixMilli(in.Issued),
		Asked:        in.Asked,
		Decision:     [32]byte(in.Decision),
	}
	session.Asked.Password = weboffice.Secret(in.Password)
	if in.GuestID != "" {
		session.Guest = weboffice.NewGuest()
		session.Guest.Id = in.GuestID
	}
	if session.ID == "" {
		session.ID = derivedID(session)
	}
	return session, Sealed{presented.RefreshToken}, nil
}

// derivedID is the ID of a document that was opened by a version without IDs.
func derivedID(s Session) string {
	sum := sha256.Sum256([]byte(s.Issuer + "\x00" + s.Subject + "\x00" + s.Guest.Id + "\x00" +
		s.Asked.SourceURI + "\x00" + strconv.FormatInt(s.Start.UnixMilli(), 36)))
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

// decrypt gives the text inside a token. A token has one spelling: line breaks, which the decoder
// would skip, are refused.
func (s *Sealer) decrypt(token string) (text []byte, ok bool) {
	if len(token) > MaxToken || strings.ContainsAny(token, "\r\n") {
		return nil, false
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(raw) < header || raw[0] != version {
		return nil, false
	}
	head, body := raw[:header], raw[header:]
	for i, key := range s.keys {
		if s.ids[i] != [keyIDSize]byte(head[1:]) {
			continue
		}
		aead, err := s.aead(key, head)
		if err != nil {
			return nil, false
		}
		text, err = aead.Open(nil, make([]byte, aead.NonceSize()), body, s.bound(head))
		if err == nil { // else go on: two keys may share an id
			return text, true
		}
	}
	return nil, false
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
