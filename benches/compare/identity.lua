-- The whole job for nginx: an RS256 bearer token is verified once (issuer, audience, times, one group) and remembered until
-- it expires; the verdict is found again by the header's own bytes. Signatures are verified by the libcrypto that nginx
-- itself is linked with. It refuses to know where a call goes: the locations of the configuration do.
-- Invariants: what cannot be read is refused; nothing is remembered for a token that did not verify.

local ffi = require "ffi"
local json = require "cjson.safe"
local decode = require("ngx.base64").decode_base64url

ffi.cdef [[
void *BIO_new_mem_buf(const void *buf, int len);
int BIO_free(void *bio);
void *PEM_read_bio_PUBKEY(void *bio, void **key, void *callback, void *user);
void *EVP_MD_CTX_new(void);
void EVP_MD_CTX_free(void *context);
const void *EVP_sha256(void);
int EVP_DigestVerifyInit(void *context, void **key_context, const void *digest, void *engine, void *key);
int EVP_DigestVerify(void *context, const char *signature, size_t signature_len, const char *text, size_t text_len);
void ERR_clear_error(void);
]]

local C = ffi.C
local ALLOWED, FORBIDDEN = 1, 2
local settings, key, verified
local _M = {}

-- `wanted`: issuer, audience, group, kid, pem.
function _M.init(wanted)
  settings = wanted
  local bio = C.BIO_new_mem_buf(wanted.pem, #wanted.pem)
  key = C.PEM_read_bio_PUBKEY(bio, nil, nil, nil)
  C.BIO_free(bio)
  assert(key ~= nil, "the key cannot be read")
  verified = ngx.shared.verified
end

local function signature_holds(signed, signature)
  local context = C.EVP_MD_CTX_new()
  local holds = C.EVP_DigestVerifyInit(context, nil, C.EVP_sha256(), nil, key) == 1
    and C.EVP_DigestVerify(context, signature, #signature, signed, #signed) == 1
  C.EVP_MD_CTX_free(context)
  C.ERR_clear_error()
  return holds
end

local function has(list, wanted)
  if type(list) ~= "table" then
    return list == wanted
  end
  for _, one in ipairs(list) do
    if one == wanted then
      return true
    end
  end
  return false
end

local function part(text)
  local value = json.decode(decode(text) or "")
  return type(value) == "table" and value or nil
end

-- The verdict and how many seconds it holds; nil for a token that proves nothing.
local function verify(header)
  local scheme, head, claims, signature = header:match("^(%a+) +([%w_-]+)%.([%w_-]+)%.([%w_-]+)$")
  if not scheme or scheme:lower() ~= "bearer" then
    return nil
  end
  local signed = head .. "." .. claims
  head, claims, signature = part(head), part(claims), decode(signature)
  if not head or not claims or not signature or head.alg ~= "RS256" or head.kid ~= settings.kid then
    return nil
  end
  if not signature_holds(signed, signature) then
    return nil
  end
  local now = ngx.time()
  if claims.iss ~= settings.issuer or not has(claims.aud, settings.audience) then
    return nil
  end
  if type(claims.exp) ~= "number" or claims.exp <= now then
    return nil
  end
  if claims.nbf ~= nil and (type(claims.nbf) ~= "number" or claims.nbf > now) then
    return nil
  end
  return has(claims.groups, settings.group) and ALLOWED or FORBIDDEN, claims.exp - now
end

-- gRPC's callers learn it from the status in an answer of headers alone.
local function refuse(status, grpc_status)
  if ngx.var.content_type == "application/grpc" then
    ngx.status = ngx.HTTP_OK
    ngx.header["Content-Type"] = "application/grpc"
    ngx.header["grpc-status"] = grpc_status
    return ngx.exit(ngx.HTTP_OK)
  end
  return ngx.exit(status)
end

function _M.check()
  local header = ngx.var.http_authorization
  local verdict = header and verified:get(header)
  if header and not verdict then
    local seconds
    verdict, seconds = verify(header)
    if verdict then
      verified:set(header, verdict, seconds)
    end
  end
  if not verdict then
    return refuse(ngx.HTTP_UNAUTHORIZED, "16")
  elseif verdict ~= ALLOWED then
    return refuse(ngx.HTTP_FORBIDDEN, "7")
  end
end

return _M
