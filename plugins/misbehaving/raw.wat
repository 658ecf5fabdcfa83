;; A filter by hand, for what no SDK lets a guest say: lengths that are not so, handles that it was
;; not given, an allocator that does not come back. The function `misbehave` is put in place of the
;; line that says so; it is called in `on-request` of a path of six bytes, after the request was given
;; the field `x-changed`, and what it returns is where the answer is read from. `$continue` is one
;; that is right.
(component
  (import "tidegate:plugin/exchange@0.1.0" (instance $exchange
    (export "request" (type $request (sub resource)))
    (export "response" (type $response (sub resource)))
    (export "storing" (type $storing (sub resource)))
    (type $a-reply (record
      (field "status" u16)
      (field "headers" (list (tuple string (list u8))))
      (field "body" (list u8))))
    (export "reply" (type $reply (eq $a-reply)))
    (type $a-flow (variant (case "continue") (case "respond" $reply)))
    (export "flow" (type $flow (eq $a-flow)))
    (type $a-hook-set (flags "on-request" "on-origin-response" "on-response"))
    (export "hook-set" (type $hook-set (eq $a-hook-set)))
    (type $a-refusal
      (enum "invalid-name" "invalid-value" "forbidden" "too-large" "too-late"))
    (export "refusal" (type $refusal (eq $a-refusal)))
    (export "[method]request.path" (func (param "self" (borrow $request)) (result string)))
    (export "[method]request.set-header" (func
      (param "self" (borrow $request)) (param "name" string) (param "value" (list u8))
      (result (result (error $refusal)))))))
  (alias export $exchange "request" (type $request))
  (alias export $exchange "response" (type $response))
  (alias export $exchange "storing" (type $storing))
  (alias export $exchange "flow" (type $flow))
  (alias export $exchange "hook-set" (type $hook-set))

  (core module $memory-module
    (memory (export "memory") 2)
    ;; 0: allocations are given the memory's second half, 1: they never end, 2: they are nowhere.
    (global $allocator (export "allocator") (mut i32) (i32.const 0))
    (func (export "allocate") (param i32 i32 i32 i32) (result i32)
      (loop $again (br_if $again (i32.eq (global.get $allocator) (i32.const 1))))
      (select
        (i32.const 0xfffffff0)
        (i32.const 0x8000)
        (i32.eq (global.get $allocator) (i32.const 2)))))
  (core instance $own (instantiate $memory-module))

  (core func $path (canon lower (func $exchange "[method]request.path")
    (memory $own "memory") (realloc (func $own "allocate"))))
  (core func $set-header (canon lower (func $exchange "[method]request.set-header")
    (memory $own "memory") (realloc (func $own "allocate"))))
  (core func $drop-request (canon resource.drop $request))
  (core func $drop-response (canon resource.drop $response))
  (core func $drop-storing (canon resource.drop $storing))

  (core module $guest-module
    (import "own" "memory" (memory 2))
    (import "own" "allocator" (global $allocator (mut i32)))
    (import "edge" "path" (func $path (param i32 i32)))
    (import "edge" "set-header" (func $set-header (param i32 i32 i32 i32 i32 i32)))
    (import "edge" "drop-request" (func $drop-request (param i32)))
    (import "edge" "drop-response" (func $drop-response (param i32)))
    (import "edge" "drop-storing" (func $drop-storing (param i32)))
    (table $table 1 funcref)
    (data (i32.const 0x100) "x-changed")
    (data (i32.const 0x110) "\ff\fe")
    ;; A flow: which one, the status, the fields and the body, the latter as pointers and lengths.
    (global $continue i32 (i32.const 0x200))
    (global $respond i32 (i32.const 0x220))
    (data (i32.const 0x220) "\01\00\00\00\c8\00\00\00")

    ;; misbehave

    (func (export "configure") (param i32 i32) (result i32) (i32.const 0x300))
    (func (export "hooks") (result i32) (i32.const 1))
    (func (export "on-request") (param $request i32) (result i32)
      (local $flow i32)
      (local.set $flow (global.get $continue))
      (call $path (local.get $request) (i32.const 0x320))
      (if (i32.eq (i32.load (i32.const 0x324)) (i32.const 6)) (then
        (call $set-header (local.get $request)
          (i32.const 0x100) (i32.const 9) (i32.const 0x102) (i32.const 7) (i32.const 0x310))
        (local.set $flow (call $misbehave (local.get $request)))))
      (call $drop-request (local.get $request))
      (local.get $flow))
    (func (export "on-origin-response") (param $request i32) (param $response i32) (param $storing i32)
      (call $drop-request (local.get $request))
      (call $drop-response (local.get $response))
      (call $drop-storing (local.get $storing)))
    (func (export "on-response") (param $request i32) (param $response i32)
      (call $drop-request (local.get $request))
      (call $drop-response (local.get $response))))
  (core instance $guest (instantiate $guest-module
    (with "own" (instance $own))
    (with "edge" (instance
      (export "path" (func $path))
      (export "set-header" (func $set-header))
      (export "drop-request" (func $drop-request))
      (export "drop-response" (func $drop-response))
      (export "drop-storing" (func $drop-storing))))))

  (func (export "configure") (param "config" string) (result (result (error string)))
    (canon lift (core func $guest "configure")
      (memory $own "memory") (realloc (func $own "allocate"))))
  (func (export "hooks") (result $hook-set)
    (canon lift (core func $guest "hooks")))
  (func (export "on-request") (param "request" (borrow $request)) (result $flow)
    (canon lift (core func $guest "on-request")
      (memory $own "memory") (realloc (func $own "allocate"))))
  (func (export "on-origin-response")
    (param "request" (borrow $request)) (param "response" (borrow $response))
    (param "storing" (borrow $storing))
    (canon lift (core func $guest "on-origin-response")))
  (func (export "on-response")
    (param "request" (borrow $request)) (param "response" (borrow $response))
    (canon lift (core func $guest "on-response"))))
