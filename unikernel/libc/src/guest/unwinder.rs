//! Unwinding, in an image whose panics can be caught: what `std` calls to leave frames, by the tables that compilers make of each
//! function. `gimli` reads them; they are in the image and are found by symbols of `unwind.ld`.
//!
//! A panic goes the way twice. First each frame is asked whether it catches, and nothing changes; if none does, the VM ends there.
//! Then each is asked again, and the processor goes on in its landing pad if it has something to drop, which comes back here by
//! `_Unwind_Resume`, or catches. What a frame answers is decided by its personality, a function of `std`.
//!
//! Nothing is allocated and nothing waits, so that a panic takes the same way wherever it begins.
//! Not here: what is told of a panic (`panics`), and questions that only backtraces ask (`unwinding`).
#![allow(
    unsafe_code,
    reason = "C's symbols; registers are set, and read from where tables say they are saved"
)]

use core::{
    arch::naked_asm,
    ffi::{c_int, c_void},
    ptr, slice,
};

use gimli::{
    BaseAddresses, CfaRule, EhFrame, EhFrameHdr, EndianSlice, FrameDescriptionEntry, LittleEndian,
    Pointer, Register, RegisterRule, UnwindContext, UnwindContextStorage, UnwindSection,
    UnwindTableRow,
};

use super::{panics, processes::give_up};

/// What `_Unwind_RaiseException` and personalities answer.
const FATAL_PHASE1_ERROR: c_int = 3;
const HANDLER_FOUND: c_int = 6;
const INSTALL_CONTEXT: c_int = 7;
const CONTINUE_UNWIND: c_int = 8;

/// What a personality is asked for.
const SEARCH_PHASE: c_int = 1;
const CLEANUP_PHASE: c_int = 2;
const HANDLER_FRAME: c_int = 4;

/// Numbers of registers, as tables have them.
const STACK_POINTER: usize = 7;
const RETURN_ADDRESS: usize = 16;
const REGISTERS: usize = 17;

/// Registers of a frame: those that a function keeps for its caller, where the frame goes on, and its stack there. In the order
/// of their numbers; the rest are zero.
type Registers = [usize; REGISTERS];

/// An exception, as `std` lays it out.
#[repr(C)]
pub(crate) struct Exception {
    class: u64,
    cleanup: Option<unsafe extern "C" fn(c_int, *mut Exception)>,
    /// The stack pointer of the frame that catches it.
    handler: usize,
    unused: usize,
}

type Personality =
    unsafe extern "C" fn(c_int, c_int, u64, *mut Exception, *mut Context<'_>) -> c_int;

/// What a personality may look at and change.
pub(crate) struct Context<'a> {
    registers: &'a mut Registers,
    /// What the frame's function has beside its row of the table: landing pads.
    language_specific: usize,
    start: usize,
}

// From `unwind.ld`.
unsafe extern "C" {
    static __eh_frame_hdr: u8;
    static __eh_frame_hdr_end: u8;
    static __eh_frame: u8;
    static __eh_frame_end: u8;
}

type Table = EndianSlice<'static, LittleEndian>;
type Row = UnwindTableRow<usize, Storage>;

/// Room for rows, on the stack: a rule for each register that a function keeps, and rows that a table may ask to come back to.
struct Storage;
impl UnwindContextStorage<usize> for Storage {
    type Rules = [(Register, RegisterRule<usize>); 16];
    type Stack = [Row; 4];
}

/// A function on the stack.
struct Frame {
    entry: FrameDescriptionEntry<Table>,
    row: Row,
}

/// # Safety
///
/// Both are of one section, whose bytes nobody changes.
unsafe fn table(start: *const u8, end: *const u8) -> Table {
    // SAFETY: as the caller's.
    let bytes = unsafe { slice::from_raw_parts(start, end.addr() - start.addr()) };
    EndianSlice::new(bytes, LittleEndian)
}

impl Frame {
    /// The frame whose function goes on there; none at the end of the stack, and where no table has the function.
    fn of(registers: &Registers) -> Option<Self> {
        // Behind a call, which may be the last instruction of its function.
        let at = registers[RETURN_ADDRESS].checked_sub(1)? as u64;
        let (index, all) = (&raw const __eh_frame_hdr, &raw const __eh_frame);
        let bases = BaseAddresses::default()
            .set_eh_frame_hdr(index.addr() as u64)
            .set_eh_frame(all.addr() as u64);
        // SAFETY: the script has the section between the two.
        let index = unsafe { table(index, &raw const __eh_frame_hdr_end) };
        // SAFETY: as above.
        let all = unsafe { table(all, &raw const __eh_frame_end) };
        let all = EhFrame::from(all);
        let index = EhFrameHdr::from(index).parse(&bases, 8).ok()?;
        let entry = index
            .table()?
            .fde_for_address(&all, &bases, at, EhFrame::cie_from_offset);
        let entry = entry.ok()?;
        let mut context = UnwindContext::<usize, Storage>::new_in();
        let row = entry.unwind_info_for_address(&all, &bases, &mut context, at);
        let row = row.ok()?.clone();
        Some(Self { entry, row })
    }

    /// Asks the function's personality; one without has nothing to do.
    fn ask(&self, actions: c_int, exception: &mut Exception, registers: &mut Registers) -> c_int {
        let Some(personality) = self.entry.personality() else {
            return CONTINUE_UNWIND;
        };
        let personality: *const c_void = ptr::with_exposed_provenance(follow(personality));
        // SAFETY: the table has the address of such a function there.
        let personality: Personality = unsafe { core::mem::transmute(personality) };
        let mut context = Context {
            registers,
            language_specific: self.entry.lsda().map_or(0, follow),
            start: self.entry.initial_address() as usize,
        };
        let class = exception.class;
        // SAFETY: this is how personalities are called.
        unsafe { personality(1, actions, class, exception, &raw mut context) }
    }

    /// The registers of the caller; none if the table says what no compiler says of functions.
    fn caller(&self, registers: &Registers) -> Option<Registers> {
        let number = |register: Register| {
            let number = usize::from(register.0);
            (number < REGISTERS).then_some(number)
        };
        let CfaRule::RegisterAndOffset { register, offset } = *self.row.cfa() else {
            return None;
        };
        let frame = registers[number(register)?].wrapping_add_signed(offset as isize);
        let mut caller = *registers;
        caller[STACK_POINTER] = frame;
        caller[RETURN_ADDRESS] = 0;
        for (register, rule) in self.row.registers() {
            caller[number(*register)?] = match *rule {
                RegisterRule::Undefined => 0,
                RegisterRule::SameValue => continue,
                RegisterRule::ValOffset(offset) => frame.wrapping_add_signed(offset as isize),
                RegisterRule::Register(other) => registers[number(other)?],
                RegisterRule::Offset(offset) => {
                    let saved = frame.wrapping_add_signed(offset as isize);
                    let saved: *const usize = ptr::with_exposed_provenance(saved);
                    // SAFETY: the table says that the function saved it there, on the stack.
                    unsafe { saved.read() }
                }
                _ => return None,
            };
        }
        Some(caller)
    }
}

/// An address of a table.
fn follow(pointer: Pointer) -> usize {
    match pointer {
        Pointer::Direct(address) => address as usize,
        Pointer::Indirect(at) => {
            let at: *const usize = ptr::with_exposed_provenance(at as usize);
            // SAFETY: the table says that the address lies there.
            unsafe { at.read() }
        }
    }
}

/// Has the processor go on where `registers` say.
///
/// # Safety
///
/// They are those of a frame of this thread's stack, and where it goes on is a landing pad of its function.
#[unsafe(naked)]
unsafe extern "C" fn go_on(registers: &Registers) -> ! {
    naked_asm!(
        "mov rax, [rdi + 8 * 0]",
        "mov rdx, [rdi + 8 * 1]",
        "mov rbx, [rdi + 8 * 3]",
        "mov rbp, [rdi + 8 * 6]",
        "mov r12, [rdi + 8 * 12]",
        "mov r13, [rdi + 8 * 13]",
        "mov r14, [rdi + 8 * 14]",
        "mov r15, [rdi + 8 * 15]",
        "mov rsp, [rdi + 8 * 7]",
        "jmp [rdi + 8 * 16]",
    )
}

/// Goes the way for the second time, from this frame on. Returns if that cannot be.
fn leave(exception: &mut Exception, registers: &mut Registers) {
    while let Some(frame) = Frame::of(registers) {
        let is_last = registers[STACK_POINTER] == exception.handler;
        let actions = CLEANUP_PHASE | if is_last { HANDLER_FRAME } else { 0 };
        match frame.ask(actions, exception, registers) {
            CONTINUE_UNWIND if !is_last => {}
            INSTALL_CONTEXT => {
                registers[STACK_POINTER] += frame.row.saved_args_size() as usize;
                // SAFETY: the tables led here from a frame of this stack, and the personality has named its landing pad.
                unsafe { go_on(registers) }
            }
            _ => return,
        }
        match frame.caller(registers) {
            Some(caller) => *registers = caller,
            None => return,
        }
    }
}

/// Goes the way for the first time, and then for the second. Returns `_URC_FATAL_PHASE1_ERROR` if that cannot be.
extern "C" fn raise(exception: &mut Exception, registers: &mut Registers) -> c_int {
    let mut at = *registers;
    loop {
        let Some(frame) = Frame::of(&at) else {
            panics::end_of_uncaught();
        };
        match frame.ask(SEARCH_PHASE, exception, &mut at) {
            CONTINUE_UNWIND => {}
            HANDLER_FOUND => break,
            _ => return FATAL_PHASE1_ERROR,
        }
        match frame.caller(&at) {
            Some(caller) => at = caller,
            None => return FATAL_PHASE1_ERROR,
        }
    }
    exception.handler = at[STACK_POINTER];
    leave(exception, registers);
    give_up("a panic found who catches it, and not the way there")
}

/// Goes on with the way for the second time.
extern "C" fn resume(exception: &mut Exception, registers: &mut Registers) -> ! {
    leave(exception, registers);
    give_up("a panic lost the way to who catches it")
}

/// Calls a function with the argument and the registers of the caller, where it goes on and its stack there.
macro_rules! with_registers {
    ($(#[$doc:meta])* $name:ident($argument:ty) -> $result:ty = $then:ident) => {
        $(#[$doc])*
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        unsafe extern "C-unwind" fn $name(_argument: $argument) -> $result {
            naked_asm!(
                "sub rsp, 8 * 17",
                "mov [rsp + 8 * 3], rbx",
                "mov [rsp + 8 * 6], rbp",
                "lea rax, [rsp + 8 * 18]",
                "mov [rsp + 8 * 7], rax",
                "mov [rsp + 8 * 12], r12",
                "mov [rsp + 8 * 13], r13",
                "mov [rsp + 8 * 14], r14",
                "mov [rsp + 8 * 15], r15",
                "mov rax, [rsp + 8 * 17]",
                "mov [rsp + 8 * 16], rax",
                "xor eax, eax",
                "mov [rsp + 8 * 0], rax",
                "mov [rsp + 8 * 1], rax",
                "mov [rsp + 8 * 2], rax",
                "mov [rsp + 8 * 4], rax",
                "mov [rsp + 8 * 5], rax",
                "mov [rsp + 8 * 8], rax",
                "mov [rsp + 8 * 9], rax",
                "mov [rsp + 8 * 10], rax",
                "mov [rsp + 8 * 11], rax",
                "mov rsi, rsp",
                "call {then}",
                "add rsp, 8 * 17",
                "ret",
                then = sym $then,
            )
        }
    };
}

with_registers! {
    /// Begins to unwind; the VM ends if nobody catches it. Returns only if tables are not as they should be.
    _Unwind_RaiseException(*mut Exception) -> c_int = raise
}

with_registers! {
    /// Goes on to unwind, from a landing pad that has dropped what it had to.
    _Unwind_Resume(*mut Exception) -> ! = resume
}

/// Drops an exception that is not Rust's, of which there are none.
#[unsafe(no_mangle)]
unsafe extern "C" fn _Unwind_DeleteException(exception: *mut Exception) {
    const FOREIGN_EXCEPTION_CAUGHT: c_int = 1;
    // SAFETY: it is one, says the caller.
    if let Some(cleanup) = unsafe { (*exception).cleanup } {
        // SAFETY: as above; whoever made it says that it is dropped so.
        unsafe { cleanup(FOREIGN_EXCEPTION_CAUGHT, exception) };
    }
}

/// Sets a register for the landing pad: one of the two that it is told by.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_SetGR(context: &mut Context<'_>, register: c_int, value: usize) {
    if let Some(to) = context.registers.get_mut(register as usize) {
        *to = value;
    }
}

/// Sets where the frame goes on.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_SetIP(context: &mut Context<'_>, address: usize) {
    context.registers[RETURN_ADDRESS] = address;
}

/// Where the frame goes on: always behind a call, as nothing interrupts.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_GetIPInfo(context: &Context<'_>, is_before: &mut c_int) -> usize {
    *is_before = 0;
    context.registers[RETURN_ADDRESS]
}

/// The landing pads of the frame's function.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_GetLanguageSpecificData(context: &Context<'_>) -> usize {
    context.language_specific
}

/// Where the frame's function begins.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_GetRegionStart(context: &Context<'_>) -> usize {
    context.start
}

/// What no address of a table is counted from.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_GetTextRelBase(_context: &Context<'_>) -> usize {
    0
}

/// As `_Unwind_GetTextRelBase`.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_GetDataRelBase(_context: &Context<'_>) -> usize {
    0
}
