// SPDX-License-Identifier: Apache-2.0
//! Rust ends the process by a signal where an allocation fails, and none of the crates here can be asked to return instead. The allocator
//! tells the C++ side first (text/bridge_memory.h), which says what happened and ends with the exit code that out of memory has.

use std::alloc::{GlobalAlloc, Layout, System};

extern "C" {
    fn luthier_bridge_out_of_memory(bytes: usize);
}

struct Told;

fn told(pointer: *mut u8, bytes: usize) -> *mut u8 {
    if pointer.is_null() {
        unsafe { luthier_bridge_out_of_memory(bytes) }
    }
    pointer
}

unsafe impl GlobalAlloc for Told {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        told(System.alloc(layout), layout.size())
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        told(System.alloc_zeroed(layout), layout.size())
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        told(System.realloc(pointer, layout, size), size)
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        System.dealloc(pointer, layout)
    }
}

#[global_allocator]
static ALLOCATOR: Told = Told;
